"""Where tubes are kept after testing: rooms, refrigerators, racks; stored, found, retrieved and discarded by date."""
