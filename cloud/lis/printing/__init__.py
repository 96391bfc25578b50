"""Reports on paper: printers, the print queue, batch print, printing by rule upon release, a record of each copy."""
