"""Charges and their items, what a payment covers, and which of executing and refunding came first."""
