"""How good a model is, and what it goes by: figures with intervals, comparisons, pages."""
