"""The morning on which numbers are released: thousands of phones, a few hundred numbers. Speaks HTTP alone."""
