"""Analyzers as strangers on the wire, written from their vendors' documents and from nothing of ours."""
