"""What the instruments of one vendor share: a dialect of a standard, from which drivers derive."""
