"""Who may do what to which tests from when to when, with who granted it and why (ISO 15189:2022, 6.2.3 and 7.6.2)."""
