"""A pay day with accidents: patients pay, change their minds and want money back, while notices and calls get lost."""
