"""Laboratory orders: placed by hand or by the HIS, cancelled, added to."""
