"""A stand-in printer that speaks IPP over HTTP, as far as a laboratory needs it."""
