"""Networks and points, a family in each file."""
