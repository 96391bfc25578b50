"""Patients on their phones: who they are (identity), their reports, the home page above both."""
