"""Turnaround: when each specimen passed each point of its road, targets, warnings before a breach, statistics."""
