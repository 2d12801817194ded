"""One file for each public data set, or layout, that Hilum reads."""
