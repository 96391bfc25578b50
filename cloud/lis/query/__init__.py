"""Finding any tube or value of the laboratory (LIS-8), saved questions, export, and a patient's values over time."""
