"""The page on which a phone pays, whatever it pays for, and the list of everything it ever paid."""
