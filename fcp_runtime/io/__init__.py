"""Files to volumes, labels to files."""
