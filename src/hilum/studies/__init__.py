"""Many trainings compared, and searches for better settings."""
