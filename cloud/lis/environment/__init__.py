"""Environment records: what refrigerators, incubators, water systems and rooms measured, and their alarms (LIS-15)."""
