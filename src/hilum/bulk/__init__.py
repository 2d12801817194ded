"""Many films: lists them, runs them through the pipeline, writes results as they come."""
