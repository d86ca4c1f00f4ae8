"""Many jobs in one folder: which are done, and what became of the others."""
