"""Where the state of links stands while the inner optimizer steps."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from xformopt.transforms.link import Link


class LinkState:
    """Keeps link buffers out of `state[p]` until the inner optimizer has state of its own there.

    torch's optimizers initialise their state where `len(state[p]) == 0`; a buffer of ours, put
    there before the first step, would make Adam fail.
    """

    def __init__(self, chain: Mapping[str, Link]) -> None:
        """Note which keys of `state[p]` are the links'."""
        self.keys = {name for name, link in chain.items() if link.transform.state}
        self.hidden: dict[Tensor, dict[str, Any]] = {}

    def settle(self, state: dict[Tensor, dict[str, Any]]) -> None:
        """Move counters to their parameters; torch loads them to where they were saved."""
        for p, entry in state.items():
            for buffers in (entry[key] for key in self.keys & entry.keys()):
                if isinstance(buffers.get("step"), Tensor):
                    buffers["step"] = buffers["step"].to(p.device)

    def hide(self, state: dict[Tensor, dict[str, Any]]) -> None:
        """Take out the entries that hold link buffers alone."""
        if self.keys:
            alone = [p for p, entry in state.items() if entry and entry.keys() <= self.keys]
            self.hidden.update((p, state.pop(p)) for p in alone)

    def show(self, state: dict[Tensor, dict[str, Any]]) -> None:
        """Put back what `hide` took out."""
        for p, entry in self.hidden.items():
            clash = state.get(p, {}).keys() & entry.keys()
            if clash:
                raise ValueError(
                    f"the links {sorted(clash)} are called as the inner optimizer calls buffers of "
                    "its own; name them otherwise: `transforms={'my_name': …}`"
                )
            state[p] = {**state.get(p, {}), **entry}
        self.hidden.clear()
