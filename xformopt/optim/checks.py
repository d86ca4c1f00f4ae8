"""What a parameter group of a transforming optimizer must satisfy."""

from typing import Any

import torch
from torch.optim.optimizer import required

from xformopt.optim.batching import batch_shape
from xformopt.optim.bound import Bound
from xformopt.optim.hooks import Hook
from xformopt.optim.inner import as_number, check_values
from xformopt.optim.scheduled import FACTORS, SCHEDULES
from xformopt.refused import Refused, RefusedType, standing_in
from xformopt.schedules import Schedule
from xformopt.transforms.link import INHERIT
from xformopt.transforms.settings import RATE

Group = dict[str, Any]


def check_group(optimizer: Any, group: Group) -> None:
    """Refuse settings out of range, parameters of too few dimensions, and keys of no link."""
    for key in FACTORS:
        as_number(key, group[key])
    for key, value in group.items():
        if value is required:
            name = type(optimizer).__name__
            raise RefusedType(key, of=name, says=f"`{key}` must be given: {name}(…, {key}=…)")
    for p in group["params"]:
        batch_shape(p.shape, group["param_ndim"], optimizer.strict_ndim)
    for bound in optimizer._chain.bounds.values():
        with standing_in(f"transforms.{bound.name}"):
            _check_link(optimizer, bound, group)
    optimizer._scheduled.check(group)
    if optimizer._built_inner:
        check_values(type(optimizer.inner_opt), group)
        check_link_keys(optimizer, group)
    if group.get("differentiable"):
        _refuse_derivatives(optimizer, group)


def check_traced(optimizer: Any) -> None:
    """Refuse to trace the first step, in which a compiler would lose buffers it makes."""
    keys = optimizer._chain.state.keys
    if not (torch.compiler.is_compiling() and keys):
        return
    groups, state = optimizer.param_groups, optimizer.state
    held = [state.get(p, {}) for group in groups for p in group["params"]]
    if not any(key in entry for entry in held for key in keys):
        raise RuntimeError(
            "links that keep state need one step before `torch.compile`, which makes their "
            "buffers: call `optimizer.step()` once, then compile it"
        )


def _check_link(optimizer: Any, bound: Bound, group: Group) -> None:
    schedules = group.get(SCHEDULES, {})
    held = {s: schedules.get(key, group[key]) for s, key in bound.keys.items()}
    param_ndim = held.pop("param_ndim")
    if bound.transform.reads_rate and RATE not in group:
        name, inner = bound.transform.name, type(optimizer.inner_opt).__name__
        raise Refused(
            f"`{name}` reads the learning rate, and {inner} has no `{RATE}`: give its parameter "
            f"groups one, {{'params': …, '{RATE}': …}}"
        )
    bound.transform.check({**bound.fixed, **held})
    if bound.transform.scope == "optimizer":
        _check_same_settings(optimizer, bound, held)
    elif param_ndim != INHERIT:
        for p in group["params"]:
            batch_shape(p.shape, param_ndim, optimizer.strict_ndim)


def _check_same_settings(optimizer: Any, bound: Bound, held: Group) -> None:
    """A link over all gradients has one setting for all groups."""
    for key, value in optimizer.transforms[bound.name].settings.items():
        if held.get(key, value) != value and not isinstance(value, Schedule):
            raise Refused(
                f"`{bound.name}.{key}` cannot differ by group, since `{bound.transform.name}` acts "
                f"on all gradients at once: it is {value!r}, and {held[key]!r} in a group"
            )


def check_link_keys(optimizer: Any, group: Group) -> None:
    """Refuse keys of a group that are meant for links, but that none of them reads."""
    known = [key for bound in optimizer._chain.bounds.values() for key in bound.keys.values()]
    meant = {*known, *optimizer._standard.renamed, *optimizer._keys_beside}
    unknown = [key for key in group if "." in key and key not in meant]
    if unknown:
        raise Refused(f"parameter group has keys {unknown} of no link; there are {known}")
    for name in optimizer.transforms.keys() & group.keys() - optimizer.defaults.keys():
        own = [*optimizer._chain.bounds[name].keys.values()]
        raise Refused(
            f"`{name}` of a parameter group is a link, not a setting, got {group[name]!r}; set one "
            f"of {own}"
        )


def _refuse_derivatives(optimizer: Any, group: Group) -> None:
    acts = [act for when in ("pre", "post") for act in optimizer._acts(when)]
    names = [act.label if isinstance(act, Hook) else act.name for act in acts]
    names += [*optimizer.transforms]
    names += [key for key, no in (("grad_scale", 1.0), ("grad_bias", 0.0)) if group[key] != no]
    if names:
        raise Refused(
            f"`differentiable=True` would lose the derivative of {', '.join(names)}, "
            "written in place: take them away, or differentiate through a step of your own"
        )
