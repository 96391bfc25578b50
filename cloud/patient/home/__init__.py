"""The patient's first page: composed of what the services below know."""
