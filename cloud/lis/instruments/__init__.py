"""Instruments of the laboratory and their channels: which code of theirs is which test of ours, and in which unit."""
