"""Building the inner optimizer: from a class, a partial or a built one."""

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

import torch
from torch.optim import Optimizer

from xformopt.optim.catalogue import inner_optimizers
from xformopt.refused import Refused, RefusedType, anew, standing_in
from xformopt.text import close_matches
from xformopt.transforms.settings import Rule

Group = dict[str, Any]
ParamGroups = Iterable[Any] | torch.nn.Module
"""Parameters, `(name, parameter)` pairs, dicts of parameter groups, or a module with its names."""


NONNEGATIVE = ("lr", "eps", "weight_decay")
"""Settings that no optimizer of torch takes below zero; NaN some let pass."""


def unpacked(
    InnerOpt: Callable[..., Optimizer] | Optimizer, settings: dict[str, Any]
) -> tuple[Callable[..., Optimizer] | Optimizer, dict[str, Any]]:
    """Return the class or function behind partials, and all settings that it is to be called with.

    >>> unpacked(functools.partial(torch.optim.SGD, lr=0.1), {"momentum": 0.9})
    (<class 'torch.optim.sgd.SGD'>, {'lr': 0.1, 'momentum': 0.9})
    """
    if not isinstance(InnerOpt, functools.partial):
        return InnerOpt, settings
    if InnerOpt.args:
        raise _unfit(f"a partial `InnerOpt` takes keywords only, got {InnerOpt.args}")
    return unpacked(InnerOpt.func, {**InnerOpt.keywords, **settings})


def build_inner(
    InnerOpt: Callable[..., Optimizer] | Optimizer,
    params: ParamGroups | None,
    settings: dict[str, Any],
    prepared: Callable[[Group], Group],
) -> Optimizer:
    """Return the inner optimizer, each of whose parameter groups was `prepared`."""
    if isinstance(InnerOpt, Optimizer):
        _check_built(InnerOpt, params, settings)
        for group in InnerOpt.param_groups:
            for key, value in prepared({}).items():
                group.setdefault(key, value)
        return InnerOpt
    if not callable(InnerOpt):
        raise _unfit(
            "`InnerOpt` must be an optimizer class, a partial of one, or a built optimizer, "
            f"got {InnerOpt!r}"
        )
    if params is None:
        raise RefusedType(f"`params` must be given, since `InnerOpt={InnerOpt}` is not built yet")
    return _construct(InnerOpt, _as_groups(params, prepared), settings)


def _check_built(inner: Optimizer, params: ParamGroups | None, settings: dict[str, Any]) -> None:
    name = type(inner).__name__
    if settings:
        raise RefusedType(
            f"`InnerOpt` is a {name} that is built already, so that {settings} would be lost; pass "
            "the class, or set them in its parameter groups"
        )
    held = {id(p) for group in inner.param_groups for p in group["params"]}
    if params is not None and held != {id(p) for p in _tensors(params)}:
        raise Refused(
            f"`params` are not those of the built {name} given as `InnerOpt`; leave `params` out"
        )


def _tensors(params: ParamGroups) -> list[Any]:
    if isinstance(params, torch.Tensor):
        return [params]
    if isinstance(params, torch.nn.Module):
        return list(params.parameters())
    found: list[Any] = []
    for p in params:
        if isinstance(p, dict):
            inside = p["params"]
            found += [inside] if isinstance(inside, torch.Tensor) else _tensors(inside)
        else:
            found.append(p[1] if isinstance(p, tuple) else p)
    return found


def _as_groups(params: ParamGroups, prepared: Callable[[Group], Group]) -> ParamGroups:
    if isinstance(params, torch.Tensor):
        return params
    if isinstance(params, torch.nn.Module):
        params = params.named_parameters()
    params = list(params)
    groups = params if params and isinstance(params[0], dict) else [{"params": params}]
    return [prepared(group) for group in groups] if params else params


def _construct(
    build: Callable[..., Optimizer], groups: ParamGroups, settings: dict[str, Any]
) -> Optimizer:
    _check_settings(build, settings)
    try:
        inner = build(groups, **settings)
    except (TypeError, ValueError) as error:
        changed = {k: v for k, v in settings.items() if not is_same(v, default_of(build, k))}
        given = ", ".join(f"{k}={v!r}" for k, v in changed.items())
        with standing_in("inner"):
            raise anew(error, f"{_name(build)}({given}) cannot be built: {error}") from error
    if not isinstance(inner, Optimizer):
        raise _unfit(f"`InnerOpt` must build a torch Optimizer, got {type(inner).__name__}")
    return inner


def default_of(build: Callable[..., Any], key: str) -> Any:
    """Return the default of a setting; `Parameter.empty` where there is none."""
    arguments = inspect.signature(build).parameters
    return arguments[key].default if key in arguments else inspect.Parameter.empty


def is_same(value: Any, default: Any) -> bool:
    """Return whether a value is the default, of which a config may have made a list."""
    return (tuple(value) if isinstance(value, list) else value) == default


def _check_settings(build: Callable[..., Any], settings: dict[str, Any]) -> None:
    """Refuse unknown settings, and values of another kind than the default, which torch takes."""
    try:
        arguments = inspect.signature(build).parameters
    except ValueError:
        arguments = {}
    if all(a.kind is a.KEYWORD_ONLY for a in arguments.values()):
        raise _unfit(f"`InnerOpt` must build a torch Optimizer from parameters, got {build!r}")
    takes_any = any(a.kind is a.VAR_KEYWORD for a in arguments.values())
    for key in settings:
        if key not in arguments and not takes_any:
            hint = close_matches(key, [a for a in arguments if a != "params"])
            says = f"{_name(build)} has no setting `{key}` (={settings[key]!r}): {hint}"
            raise RefusedType(
                key, "", settings[key], hint, of=_name(build), part="inner", says=says
            )
    check_values(build, settings)


def check_values(build: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """Refuse values of another kind than the default of the setting, and rates below zero."""
    for key, rule in _rules(build).items():
        if key in settings and not rule.holds(settings[key]):
            kind = Refused if _is_number(settings[key]) else RefusedType
            raise kind(key, rule.says, settings[key], of=_name(build), part="inner")


def as_number(key: str, value: Any) -> float:
    """Return a finite number as a float; raise for anything else."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise RefusedType(key, "a number", value)
    if not math.isfinite(value):
        raise Refused(key, "a finite number", value)
    return float(value)


@functools.cache
def _rules(build: Callable[..., Any]) -> dict[str, Rule]:
    """Return what each setting must be, as far as it is known."""
    try:
        keys = list(inspect.signature(build).parameters)
    except ValueError:
        return {}
    rules = {key: _kind(build, key) for key in keys if key != "params"}
    if build in inner_optimizers().values():
        for key in NONNEGATIVE:
            if rules.get(key):
                rules[key] = Rule("a number >= 0", _is_nonnegative)
        if rules.get("betas"):
            count = len(default_of(build, "betas"))
            rules["betas"] = Rule(f"{count} numbers in [0, 1]", lambda v: _are_decays(v, count))
    return {key: rule for key, rule in rules.items() if rule}


def _is_nonnegative(value: Any) -> bool:
    return _is_number(value) and (not isinstance(value, float | int) or value >= 0)


def _kind(build: Callable[..., Any], key: str) -> Rule | None:
    """Return what a setting must be, as far as its default and annotation tell."""
    default = default_of(build, key)
    if isinstance(default, bool):
        return Rule("true or false", lambda v: isinstance(v, bool) or v in (0, 1))
    if isinstance(default, int | float):
        return Rule("a number", _is_number)
    if isinstance(default, tuple) and all(map(_is_number, default)):
        says = f"{len(default)} numbers"
        return Rule(says, lambda v: _is_numbers(v, len(default)))
    annotation = inspect.signature(build).parameters.get(key)
    if default is None and annotation and annotation.annotation in (bool | None, "bool | None"):
        return Rule("true, false or null", lambda v: v is None or isinstance(v, bool))
    return None


def _is_number(value: Any) -> bool:
    """Return whether a value may stand for a number: some optimizers take tensors or functions."""
    return not isinstance(value, bool | str | list | tuple | dict | None)


def _is_numbers(value: Any, count: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == count and all(map(_is_number, value))


def _are_decays(values: Any, count: int) -> bool:
    return _is_numbers(values, count) and all(
        0 <= v <= 1 for v in values if isinstance(v, float | int)
    )


def _unfit(says: str) -> RefusedType:
    return RefusedType("", part="inner", says=says)


def _name(build: Callable[..., Any]) -> str:
    return getattr(build, "__name__", str(build))
