"""Bills on the phone: seen, paid together, refunded by the rules."""
