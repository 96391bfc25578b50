"""Results: from decoded items to a reviewed value, and those that match nothing."""
