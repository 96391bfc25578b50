"""Self-service print (自助打印): a patient at a machine scans a voucher, card or tube and takes what may be shown."""
