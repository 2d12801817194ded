"""A checkpoint made to fit: its probabilities to a site's own films, its graph to a machine."""
