"""Critical values: a case for each release that holds any and for what comes after it; who was told and read back."""
