"""What a run leaves behind, and what is made of it."""

from experiments.results.loading import Results, load

__all__ = ["Results", "load"]
