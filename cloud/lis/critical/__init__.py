"""Critical values: one case for each release that holds any, with the record of who was told and read back."""
