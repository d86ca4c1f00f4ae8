"""Images with labels, a source in each file."""
