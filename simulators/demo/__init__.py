"""The demo: a hospital's morning on one machine, every part a process of its own, and the smoke run that counts it."""
