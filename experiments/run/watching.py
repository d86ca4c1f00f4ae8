"""Which links of a chain change anything."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from experiments.run.state import State
from xformopt.optim import changed


def watching(state: State) -> AbstractContextManager[None]:
    """Watch the next step where it is the first, second, fourth, eighth …, while a link idles."""
    step = state.step + 1
    idle = step == 1 or not all(state.watched.values())
    due = idle and step & (step - 1) == 0 and not _is_compiled(state.optimizer)
    return _watched(state) if due else nullcontext()


def remarks(state: State) -> list[str]:
    """Return a line for each link that changed nothing at any step that was looked at."""
    looked = state.step.bit_length()
    return [
        f"the link `{name}` changed nothing, at none of the {looked} steps that were looked at"
        for name, acted in state.watched.items()
        if not acted
    ]


def _is_compiled(optimizer: Any) -> bool:
    """Return whether steps are one program, which shows none of its links."""
    parts = getattr(optimizer, "optimizers", {"": optimizer}).values()
    return any(getattr(part, "compile", False) for part in parts)


@contextmanager
def _watched(state: State) -> Iterator[None]:
    with changed(state.optimizer) as found:
        yield
    for name, acted in found.items():
        state.watched[name] = state.watched.get(name, False) or acted
