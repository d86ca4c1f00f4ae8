"""Building the inner optimizer: from a class, a partial or a built one."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from xformopt.text import close_matches
from xformopt.transforms.settings import Rule

ParamGroups = Iterable[Any]
"""Parameters, `(name, parameter)` pairs, or dicts of parameter groups."""


NONNEGATIVE = ("lr", "eps", "weight_decay")
"""Settings that no optimizer of torch takes below zero; NaN some let pass."""


def inner_optimizers() -> dict[str, type[Optimizer]]:
    """Return the optimizers of the installed `torch.optim`, by lower-case name.

    >>> "adamw" in inner_optimizers()
    True
    """
    found = vars(torch.optim).values()
    classes = [c for c in found if inspect.isclass(c) and issubclass(c, Optimizer)]
    return {
        c.__name__.lower(): c
        for c in sorted(classes, key=lambda c: c.__name__.lower())
        if _needs_only_params(c)
    }


def build_inner(
    InnerOpt: Callable[..., Optimizer] | Optimizer,
    params: ParamGroups | None,
    group_defaults: dict[str, Any],
    settings: dict[str, Any],
) -> Optimizer:
    """Return the inner optimizer, whose parameter groups hold `group_defaults` as well."""
    if isinstance(InnerOpt, Optimizer):
        _check_built(InnerOpt, params, settings)
        inner = InnerOpt
        for group in inner.param_groups:
            for key, value in group_defaults.items():
                group.setdefault(key, value)
    else:
        if not callable(InnerOpt):
            raise TypeError(
                "`InnerOpt` must be an optimizer class, a partial of one, or a built optimizer, "
                f"got {InnerOpt!r}"
            )
        if params is None:
            raise TypeError(f"`params` must be given, since `InnerOpt={InnerOpt}` is not built yet")
        inner = _construct(InnerOpt, _with_defaults(params, group_defaults), settings)
    inner.defaults.update(group_defaults)
    return inner


def _needs_only_params(cls: type[Optimizer]) -> bool:
    arguments = list(inspect.signature(cls).parameters.values())
    required = [a.name for a in arguments if a.default is a.empty and a.kind is not a.VAR_KEYWORD]
    return cls is not Optimizer and required == ["params"]


def _check_built(inner: Optimizer, params: ParamGroups | None, settings: dict[str, Any]) -> None:
    name = type(inner).__name__
    if settings:
        raise TypeError(
            f"`InnerOpt` is a {name} that is built already, so that {settings} would be lost; pass "
            "the class, or set them in its parameter groups"
        )
    held = {id(p) for group in inner.param_groups for p in group["params"]}
    if params is not None and held != {id(p) for p in _tensors(params)}:
        raise ValueError(
            f"`params` are not those of the built {name} given as `InnerOpt`; leave `params` out"
        )


def _tensors(params: ParamGroups) -> list[Any]:
    if isinstance(params, torch.Tensor):
        return [params]
    found: list[Any] = []
    for p in params:
        if isinstance(p, dict):
            inside = p["params"]
            found += [inside] if isinstance(inside, torch.Tensor) else _tensors(inside)
        else:
            found.append(p[1] if isinstance(p, tuple) else p)
    return found


def _with_defaults(params: ParamGroups, group_defaults: dict[str, Any]) -> ParamGroups:
    if isinstance(params, torch.Tensor):
        return params
    params = list(params)
    groups = params if params and isinstance(params[0], dict) else [{"params": params}]
    return [{**group_defaults, **group} for group in groups] if params else params


def _construct(
    build: Callable[..., Optimizer], groups: ParamGroups, settings: dict[str, Any]
) -> Optimizer:
    if isinstance(build, functools.partial):
        if build.args:
            raise TypeError(f"a partial `InnerOpt` takes keywords only, got {build.args}")
        settings, build = {**build.keywords, **settings}, build.func
    _check_settings(build, settings)
    try:
        inner = build(groups, **settings)
    except (TypeError, ValueError) as error:
        changed = {k: v for k, v in settings.items() if not _same(v, _default(build, k))}
        given = ", ".join(f"{k}={v!r}" for k, v in changed.items())
        raise type(error)(f"{_name(build)}({given}) cannot be built: {error}") from error
    if not isinstance(inner, Optimizer):
        raise TypeError(f"`InnerOpt` must build a torch Optimizer, got {type(inner).__name__}")
    return inner


def without_leftovers(build: Callable[..., Optimizer]) -> Callable[..., Optimizer]:
    """Drop from a partial what another optimizer's config left when its `_target_` was changed.

    That is: the settings that `build` does not have, if all of them stand at the defaults of a
    torch optimizer, all of whose settings the partial holds.

    >>> left = functools.partial(torch.optim.NAdam, lr=0.1, **{
    ...     k: a.default for k, a in inspect.signature(torch.optim.SGD).parameters.items()
    ...     if k not in ("params", "lr")})
    >>> sorted(without_leftovers(left).keywords)
    ['differentiable', 'foreach', 'lr', 'maximize', 'weight_decay']
    """
    if not isinstance(build, functools.partial):
        return build
    try:
        arguments = inspect.signature(build.func).parameters
    except ValueError:
        return build
    if any(a.kind is a.VAR_KEYWORD for a in arguments.values()):
        return build
    unknown = {k: v for k, v in build.keywords.items() if k not in arguments}
    for cls in inner_optimizers().values():
        whole = set(inspect.signature(cls).parameters) - {"params"} <= set(build.keywords)
        if whole and all(_same(v, _default(cls, k)) for k, v in unknown.items()):
            kept = {k: v for k, v in build.keywords.items() if k not in unknown}
            return functools.partial(build.func, *build.args, **kept)
    return build


def _default(build: Callable[..., Any], key: str) -> Any:
    arguments = inspect.signature(build).parameters
    return arguments[key].default if key in arguments else inspect.Parameter.empty


def _same(value: Any, default: Any) -> bool:
    return (tuple(value) if isinstance(value, list) else value) == default


def _check_settings(build: Callable[..., Any], settings: dict[str, Any]) -> None:
    """Refuse unknown settings, and values of another kind than the default, which torch takes."""
    try:
        arguments = inspect.signature(build).parameters
    except ValueError:
        arguments = {}
    if all(a.kind is a.KEYWORD_ONLY for a in arguments.values()):
        raise TypeError(f"`InnerOpt` must build a torch Optimizer from parameters, got {build!r}")
    takes_any = any(a.kind is a.VAR_KEYWORD for a in arguments.values())
    for key, value in settings.items():
        if key not in arguments and not takes_any:
            hint = close_matches(key, [a for a in arguments if a != "params"])
            raise TypeError(f"{_name(build)} has no setting `{key}` (={value!r}): {hint}")
        kind = _kind(build, key)
        if not (kind is None or kind.holds(value)):
            raise TypeError(f"`{key}` of {_name(build)} must be {kind.says}, got {value!r}")
        is_torchs = build in inner_optimizers().values()
        if is_torchs and key in NONNEGATIVE and isinstance(value, float | int) and not value >= 0:
            raise ValueError(f"`{key}` of {_name(build)} must be a number >= 0, got {value!r}")


def _kind(build: Callable[..., Any], key: str) -> Rule | None:
    """Return what a setting must be, as far as its default and annotation tell."""
    default = _default(build, key)
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


def _name(build: Callable[..., Any]) -> str:
    return getattr(build, "__name__", str(build))


def evaluates_once(optimizer: Optimizer) -> bool:
    """Return whether a step calls its closure once, before all else, as torch's own mostly do.

    >>> x = [torch.zeros(1)]
    >>> evaluates_once(torch.optim.SGD(x)), evaluates_once(torch.optim.LBFGS(x))
    (True, False)
    """
    cls = type(optimizer)
    optional = inspect.signature(cls.step).parameters["closure"].default is None
    return cls.__module__.startswith("torch.optim.") and optional
