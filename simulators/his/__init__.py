"""A stand-in for the hospital information system: registers patients, orders tests, takes results back."""
