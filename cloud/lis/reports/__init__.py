"""Reports: frozen versions, PDF, disclosure, amendment and recall."""
