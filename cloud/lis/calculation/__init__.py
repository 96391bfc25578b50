"""Calculated tests: formulas as versioned data, the language they are written in, units, and the check of both."""
