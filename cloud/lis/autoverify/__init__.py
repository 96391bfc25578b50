"""Automatic verification (智能核准): rule sets, the live decision, shadow, back-test, stops and drift."""
