"""Reflex and repeat rules: when a result is like this, add a test, measure again, dilute, or say a sentence."""
