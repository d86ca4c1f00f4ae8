"""Which links of a chain change anything."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch.optim import Optimizer

from experiments.run.state import State
from xformopt.optim import changed, parts_of


def watching(state: State) -> AbstractContextManager[None]:
    """Watch the next step where it is the first, second, fourth, eighth …, while a link idles."""
    step = state.step + 1
    due = step & (step - 1) == 0 and not is_compiled(state.optimizer)
    idle = due and (step == 1 or not all(state.watched.values()))
    return _watched(state) if idle else nullcontext()


def remarks(state: State) -> list[str]:
    """Return a line for each link that changed nothing at any step that was looked at.

    Of sharded parameters each rank sees its share alone, so that nothing is said.
    """
    if state.plain is not None:
        return []
    looked = state.step.bit_length()
    return [
        f"the link `{name}` changed nothing at any of the {looked} steps that were looked at; "
        f"`{_key(name)}=null` leaves it out"
        for name, acted in state.watched.items()
        if not acted
    ]


def _key(link: str) -> str:
    """Return where a link stands in the config: in the chain, or in that of its route."""
    route, dot, name = link.rpartition(".")
    return f"optim.{f'routes.{route}.' if dot else ''}transforms.{name}"


def is_compiled(optimizer: Optimizer) -> bool:
    """Return whether steps are one program, which shows none of its links."""
    return any(getattr(part, "compile", False) for part in parts_of(optimizer).values())


@contextmanager
def _watched(state: State) -> Iterator[None]:
    with changed(state.optimizer) as found:
        yield
    for name, acted in found.items():
        state.watched[name] = state.watched.get(name, False) or acted
