"""Many films: found, taken through the pipeline, their results on disk as they come."""
