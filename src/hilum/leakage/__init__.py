"""What must not be: films and patients that leak between data sets or across a split, found and told."""
