"""Columns of a report's leaderboard that are not its own."""

from collections.abc import Callable, Sequence

from experiments.results.summary import Summary

Column = Callable[[Sequence[Summary]], float | str]
"""What a column shows of the finished runs of a contender."""

COLUMNS: dict[str, Column] = {}


def column(function: Column) -> Column:
    """Add a column of this name to leaderboards of reports: a number or text, "" for nothing.

    >>> @column
    ... def slowest(runs):
    ...     return max(run.seconds for run in runs)
    >>> COLUMNS.pop("slowest")([Summary("finished", seconds=2.0)])
    2.0
    """
    COLUMNS[function.__name__] = function
    return function
