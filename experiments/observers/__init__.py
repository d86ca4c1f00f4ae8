"""Who listens to a run, one in each file."""
