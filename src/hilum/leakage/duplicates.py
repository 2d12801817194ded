"""When two films count as one picture; told here, where the command line can say it without loading NumPy."""

LEAST = 0.93
"""Likeness from which they do; how it was chosen stands in docs/results/leakage.md."""
