"""Figures as short text."""

from collections.abc import Mapping


def as_words(metrics: Mapping[str, float]) -> str:
    """Return metrics as short text.

    >>> as_words({"loss": 0.12345, "valid_accuracy": 0.98})
    'loss 0.1235  valid_accuracy 0.98'
    """
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
