"""The launcher: `python -m experiments`."""
