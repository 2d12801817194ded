"""Adapt a checkpoint: its probabilities to a site's films, its graph to a machine."""
