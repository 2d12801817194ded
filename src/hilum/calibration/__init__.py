"""From a model's scores to probabilities that hold, and sets of answers that keep their promise."""
