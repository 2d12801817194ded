"""Scores and their uncertainty, on plain arrays."""
