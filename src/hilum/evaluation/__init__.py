"""How good a model is, and what its scores rest on: figures with intervals, comparisons, pages."""
