"""Find films and patients that leak between data sets or across a split."""

LEAST = 0.93
"""Likeness from which two films count as one picture; docs/results/leakage.md says how it was chosen."""
