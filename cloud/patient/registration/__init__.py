"""Numbers of a clinic session: one row each, claimed, paid, used or given back."""
