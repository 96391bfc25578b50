"""What the box has received and not yet handed over, in one SQLite file that survives a kill and a power cut."""
