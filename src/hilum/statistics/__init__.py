"""Figures and how sure they are, on plain arrays; pure NumPy."""
