"""What is saved of an optimizer, and what may be loaded into it."""

from collections.abc import Callable, Hashable, Iterable
from itertools import chain
from typing import Any

from torch import Generator, Tensor
from torch.optim import Optimizer

from xformopt.optim.bound import Bound
from xformopt.optim.scheduled import SCHEDULES

MADE_ANEW = {"step", "state", "param_groups", "defaults", "_compiled"}
"""Attributes that a copy makes for itself."""

BOOKKEEPING = ("_optimizer_", "_opt_called", "_zero_grad_", "_warned_")
"""How the names of torch's own attributes begin."""

LINKS = "links"
"""The key of saved groups that tells the chain, in order."""

Group = dict[str, Any]
StateDict = dict[str, Any]


def own_attributes(optimizer: Optimizer) -> dict[str, Any]:
    """Return the attributes that are not torch's bookkeeping, which each instance makes anew."""
    return {
        name: value
        for name, value in vars(optimizer).items()
        if name not in MADE_ANEW and not name.startswith(BOOKKEEPING)
    }


def pack(groups: list[Group], bounds: Iterable[Bound], order: Iterable[str]) -> None:
    """Make saved groups say the chain and its generators; schedules are not saved."""
    links = ", ".join(order)
    for group in groups:
        group.pop(SCHEDULES, None)
        if links:
            group[LINKS] = links
    for group in groups[:1]:
        group.update({k: generator.get_state() for k, generator in generators_of(bounds).items()})


def unpack(
    groups: list[Group], saved: list[Group], bounds: Iterable[Bound], order: Iterable[str]
) -> list[Group]:
    """Return saved groups as a load needs them, checked; the generators go on from there."""
    generators = generators_of(bounds)
    states = {k: v for group in saved[:1] for k, v in group.items() if k in generators}
    orders = {group[LINKS] for group in saved if LINKS in group}
    saved = [{k: v for k, v in g.items() if k not in (*generators, LINKS)} for g in saved]
    _check_same_chain(groups, saved, ", ".join(order), orders)
    for key, state in states.items():
        generators[key].set_state(state.cpu())
    if len(saved) != len(groups):
        return saved
    return [{**_settings(ours), **theirs} for ours, theirs in zip(groups, saved, strict=True)]


def by_name(groups: list[Group], state_dict: StateDict) -> StateDict:
    """Return a state dict in the order of `groups`, where all parameters have names on both sides.

    A distributed checkpoint has sorted it already: it has names in the place of numbers.

    Raises:
        ValueError: where some names are the same, but not those of each group.
    """
    saved = state_dict["param_groups"]
    named = all("param_names" in group for group in (*groups, *saved))
    in_our_order = any(isinstance(i, str) for group in saved for i in group["params"])
    if not named or in_our_order or not _names(groups) & _names(saved):
        return {**state_dict, "param_groups": _with_our_names(groups, saved)}
    found = {_key(group): group for group in saved}
    missing = next((group for group in groups if _key(group) not in found), None)
    if missing is not None or len(found) != len(groups):
        where = (missing or groups[0]).get("route")
        raise ValueError(
            "the state dict has other parameters"
            f"{f' in the route `{where}`' if where else ' in its groups'}: "
            f"{_difference(missing or groups[0], saved)}"
        )
    ordered = [_in_order_of(group, found[_key(group)]) for group in groups]
    return {**state_dict, "param_groups": ordered}


def load(
    optimizer: Any, state_dict: StateDict, names: set[str], load: Callable[[StateDict], Any]
) -> None:
    """Load a state dict, but for the links' buffers, by `load`; then these, in their own dtype."""
    held = state_dict["state"]
    kept = {i: {k: v for k, v in entry.items() if k not in names} for i, entry in held.items()}
    load({**state_dict, "state": kept})
    saved = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
    params = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    for index, p in zip(saved, params, strict=False):
        own = {k: v for k, v in held.get(index, {}).items() if k in names}
        for name, buffers in own.items():
            optimizer.state[p][name] = {k: _at(p, x) for k, x in buffers.items()}


def _at(param: Tensor, x: Any) -> Any:
    return x.to(param.device) if isinstance(x, Tensor) else x


def generators_of(bounds: Iterable[Bound]) -> dict[str, Generator]:
    """Return the generators that links draw from, by link and setting."""
    return {
        f"{bound.name}.{key}": value
        for bound in bounds
        for key, value in bound.fixed.items()
        if isinstance(value, Generator)
    }


def _check_same_chain(
    groups: list[Group], saved: list[Group], order: str, orders: set[str]
) -> None:
    """Raise a `ValueError` where saved groups are of other links, or of another order."""
    ours = {key for group in groups for key in group if "." in key}
    theirs = {key for group in saved for key in group if "." in key}
    if ours != theirs:
        raise ValueError(
            "the state dict is of another chain of transforms: it has "
            f"{sorted(theirs - ours) or 'nothing more'}, and lacks {sorted(ours - theirs)}"
        )
    if orders - {order}:
        raise ValueError(
            f"the state dict is of a chain in another order: {', '.join(orders)}, and this "
            f"optimizer runs {order}"
        )


def _settings(group: Group) -> Group:
    return {k: v for k, v in group.items() if k != "params"}


def _with_our_names(groups: list[Group], saved: list[Group]) -> list[Group]:
    """Return saved groups with the names that these have, where there are as many."""
    if len(groups) != len(saved):
        return saved
    held = [{k: ours[k] for k in ("param_names",) if k in ours} for ours in groups]
    return [{**theirs, **names} for theirs, names in zip(saved, held, strict=True)]


def _key(group: Group) -> Hashable:
    return group.get("route"), frozenset(group["param_names"])


def _names(groups: list[Group]) -> set[str]:
    return {name for group in groups for name in group["param_names"]}


def _in_order_of(ours: Group, theirs: Group) -> Group:
    places = dict(zip(theirs["param_names"], theirs["params"], strict=True))
    names = ours["param_names"]
    return {**theirs, "params": [places[name] for name in names], "param_names": names}


def _difference(group: Group, saved: list[Group]) -> str:
    """Say how the names of a group differ from those of the saved group most like it."""
    ours = set(group["param_names"])
    theirs = max((set(g["param_names"]) for g in saved), key=lambda names: len(names & ours))
    return f"it has {sorted(theirs - ours) or 'no more'}, and lacks {sorted(ours - theirs)}"
