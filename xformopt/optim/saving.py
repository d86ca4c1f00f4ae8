"""What is saved of an optimizer, and what may be loaded into it."""

from collections.abc import Callable, Hashable, Iterable
from itertools import chain
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from xformopt.optim.scheduled import SCHEDULES
from xformopt.refused import Refused

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


def saved(optimizer: Optimizer, make: Callable[[], StateDict]) -> StateDict:
    """Return the state dict that is made, as the hooks of an optimizer leave it."""
    for hook in optimizer._optimizer_state_dict_pre_hooks.values():
        hook(optimizer)
    state_dict = make()
    for hook in optimizer._optimizer_state_dict_post_hooks.values():
        changed = hook(optimizer, state_dict)
        state_dict = state_dict if changed is None else changed
    return state_dict


def loaded(optimizer: Optimizer, state_dict: StateDict, load: Callable[[StateDict], None]) -> None:
    """Load what the hooks of an optimizer make of a state dict."""
    state_dict = state_dict.copy()
    for hook in optimizer._optimizer_load_state_dict_pre_hooks.values():
        changed = hook(optimizer, state_dict)
        state_dict = state_dict if changed is None else changed
    load(state_dict)
    for hook in optimizer._optimizer_load_state_dict_post_hooks.values():
        hook(optimizer)


def pack(groups: list[Group], order: Iterable[str]) -> None:
    """Put what can be saved into saved groups, and the chain: schedules are saved by their keys.

    Saved groups have every key that live ones have, since torch.distributed.checkpoint looks for
    these.
    """
    links = ", ".join(order)
    states = {generator: generator.get_state() for generator in generators_of(groups)}
    for group in groups:
        group.update({k: states[v] for k, v in group.items() if isinstance(v, Generator)})
        if SCHEDULES in group:
            group[SCHEDULES] = [*group[SCHEDULES]]
        if links:
            group[LINKS] = links


def unpack(groups: list[Group], saved: list[Group], order: Iterable[str]) -> list[Group]:
    """Return saved groups as a load needs them, checked against those that take them over."""
    orders = {group[LINKS] for group in saved if LINKS in group}
    saved = [{k: v for k, v in group.items() if k != LINKS} for group in saved]
    _check_same_chain(groups, saved, ", ".join(order), orders)
    if len(saved) != len(groups):
        return saved
    for ours, theirs in zip(groups, saved, strict=True):
        _check_generators(ours, theirs)
    return [{**_settings(ours), **theirs} for ours, theirs in zip(groups, saved, strict=True)]


def by_name(groups: list[Group], state_dict: StateDict) -> StateDict:
    """Return a state dict in the order of `groups`, where all parameters have names on both sides.

    Names that stand in two groups tell nothing. A distributed checkpoint has sorted it already: it
    has names in the place of numbers.

    Raises:
        ValueError: where some names are the same, but not those of each group.
    """
    saved = state_dict["param_groups"]
    named = _are_named(groups) and _are_named(saved)
    in_our_order = any(isinstance(i, str) for group in saved for i in group["params"])
    if not named or in_our_order or not _names(groups) & _names(saved):
        return {**state_dict, "param_groups": _with_our_names(groups, saved)}
    found = {_key(group): group for group in saved}
    missing = next((group for group in groups if _key(group) not in found), None)
    if missing is not None or len(found) != len(groups):
        where = (missing or groups[0]).get("route")
        raise Refused(
            "the state dict has other parameters"
            f"{f' in the route `{where}`' if where else ' in its groups'}: "
            f"{_difference(missing or groups[0], saved)}"
        )
    ordered = [_in_order_of(group, found[_key(group)]) for group in groups]
    return {**state_dict, "param_groups": ordered}


def load(
    optimizer: Any, state_dict: StateDict, names: set[str], load: Callable[[StateDict], Any]
) -> None:
    """Load a state dict by `load`, but for the links' buffers, which it would cast; then these.

    Generators and schedules are the optimizer's own; they go on where the saved ones were.
    """
    held = state_dict["state"]
    kept = {i: {k: v for k, v in entry.items() if k not in names} for i, entry in held.items()}
    before = list(optimizer.param_groups)
    load({**state_dict, "state": kept})
    for group, ours in zip(optimizer.param_groups, before, strict=True):
        _go_on(group, ours)
    saved = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
    params = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    for index, p in zip(saved, params, strict=False):
        own = {k: v for k, v in held.get(index, {}).items() if k in names}
        if own:
            optimizer.state[p].update(own)


def _go_on(group: Group, ours: Group) -> None:
    """Put the generators and schedules of a group into the one that was loaded in its place."""
    following = group.pop(SCHEDULES, ())
    if SCHEDULES in ours:
        group[SCHEDULES] = {k: s for k, s in ours[SCHEDULES].items() if k in following}
    for key, generator in ours.items():
        if isinstance(generator, Generator):
            generator.set_state(group[key].cpu())
            group[key] = generator


def generators_of(groups: Iterable[Group]) -> list[Generator]:
    """Return the generators that links draw from, each once."""
    held = [v for group in groups for v in group.values() if isinstance(v, Generator)]
    return [*dict.fromkeys(held)]


def _check_generators(ours: Group, theirs: Group) -> None:
    """Raise a `ValueError` where a link draws from a generator on one side alone."""
    for key, own in ours.items():
        saved = theirs.get(key)
        has_state = isinstance(saved, Tensor) and saved.dtype == torch.uint8
        if isinstance(own, Generator) and not has_state:
            raise Refused(
                f"the state dict has no state for the generator `{key}`: it was saved by a link "
                "that draws from torch's own; leave the generator out to load it"
            )
        if own is None and has_state:
            raise Refused(
                f"the state dict has the state of a generator for `{key}`, where this optimizer "
                "draws from torch's own; give the link a `generator=torch.Generator()` to load it"
            )


def _check_same_chain(
    groups: list[Group], saved: list[Group], order: str, orders: set[str]
) -> None:
    """Raise a `ValueError` where saved groups are of other links, or of another order."""
    ours = {key for group in groups for key in group if "." in key}
    theirs = {key for group in saved for key in group if "." in key}
    if ours != theirs:
        raise Refused(
            "the state dict is of another chain of transforms: it has "
            f"{sorted(theirs - ours) or 'nothing more'}, and lacks {sorted(ours - theirs)}"
        )
    if orders - {order}:
        raise Refused(
            f"the state dict is of a chain in another order: {', '.join(orders)}, and this "
            f"optimizer runs {order}"
        )


def _are_named(groups: list[Group]) -> bool:
    """Return whether the parameters have names, each its own."""
    names = [name for group in groups for name in group.get("param_names", ())]
    return all("param_names" in group for group in groups) and len({*names}) == len(names)


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
