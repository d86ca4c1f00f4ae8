"""The hooks of optimizers: methods that are called per parameter, or links that stand for them."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from xformopt.optim.batching import hook_view
from xformopt.optim.bound import Bound
from xformopt.refused import Refused
from xformopt.transforms.definition import Transform

NOT_RENAMED: dict[str, str] = {}
HOOKS = {"pre": "_pre_step_transform_", "post": "_post_step_transform_"}


class Hook(NamedTuple):
    """A method that a subclass overrides, to be called for each parameter."""

    method: Callable[..., None]
    label: str
    before: bool
    keys: Mapping[str, str]
    """The group keys of settings that the method knows by other names."""

    def run(self, groups: list[Any], strict: bool) -> None:
        """Call the method for each parameter; before the step, for each that has a gradient."""
        for group in groups:
            seen = seen_by(self.keys, group)
            for p in group["params"]:
                if p.numel() == 0 or (self.before and p.grad is None):
                    continue
                if self.before and p.grad.is_sparse:
                    raise Refused(
                        f"`{self.label}` cannot act on the sparse gradient of a parameter of shape "
                        f"{tuple(p.shape)}; use an elementwise link: `transforms=[sign()]`"
                    )
                with hook_view(p, group, strict, self.label) as view:
                    self.method(view, optim_group=seen)


class LinkHook:
    """A transform that stands for a hook of a class: it runs over buckets, as a link does.

    A subclass that overrides the hook is called for each parameter, and may call this one by
    `super()`. Settings stand in group keys.
    """

    def __init__(self, transform: Transform, **keys: str) -> None:
        """Take the transform, and which group keys its settings stand in."""
        self.transform, self.keys = transform, keys

    def __get__(self, optimizer: Any, owner: type | None = None) -> Any:
        """Return itself for the class, and for an optimizer what may be called as a hook."""
        return self if optimizer is None else _Called(self, optimizer)

    def method(self, optimizer: Any) -> Callable[..., None] | None:
        """Return the method that an optimizer puts in the place of the transform, if any."""
        return None

    def bound(self, optimizer: Any) -> Bound:
        """Return the link as this optimizer runs it."""
        defaults = {k: s.default for k, s in self.transform.settings.items() if k not in self.keys}
        return Bound(type(optimizer).__name__, self.transform, self.keys, defaults)


class _Called(NamedTuple):
    """The hook of an optimizer, for `super()._pre_step_transform_(param, optim_group)`."""

    hook: LinkHook
    optimizer: Any

    def __call__(self, param: Tensor, optim_group: Any = None) -> None:
        method = self.hook.method(self.optimizer)
        if method:
            method(param, optim_group)
            return
        bound = self.hook.bound(self.optimizer)
        target = param.grad if bound.transform.target == "grad" else param
        if target is not None:
            settings, _ = bound.settings({"param_ndim": None, **(optim_group or {})})
            bound.transform.fn(target, **settings)


def acts_of(optimizer: Any, when: str, keys: Mapping[str, str]) -> list["Hook | Bound"]:
    """Return what stands for an optimizer's hook: a link, a method to be called, or nothing.

    Args:
        optimizer: a transforming optimizer.
        when: 'pre' or 'post'.
        keys: the group keys of settings that its class knows by other names.
    """
    name = HOOKS[when]
    found: Any = vars(optimizer).get(name) or _of_class(type(optimizer), name)
    if getattr(found, "is_no_op", False):
        return []
    method = getattr(optimizer, name)
    if isinstance(found, LinkHook):
        method = found.method(optimizer)
        if method is None:
            bound = found.bound(optimizer)
            return [bound._replace(keys={s: keys.get(k, k) for s, k in bound.keys.items()})]
    return [Hook(method, f"{type(optimizer).__name__}.{name}", when == "pre", keys)]


def _of_class(cls: Any, name: str) -> Any:
    """Return a hook as a class has it; a compiler of torch 2.10 follows no inherited one."""
    return cls._hooks_of_class[name] if torch.compiler.is_compiling() else getattr(cls, name)


class _Renamed(MutableMapping[str, Any]):
    """A group under the names that a composed optimizer knows its settings by."""

    def __init__(self, group: Any, keys: Mapping[str, str]) -> None:
        self.group, self.keys_of = group, keys

    def __getitem__(self, key: str) -> Any:
        return self.group[self.keys_of.get(key, key)]

    def __setitem__(self, key: str, value: Any) -> None:
        self.group[self.keys_of.get(key, key)] = value

    def __delitem__(self, key: str) -> None:
        del self.group[self.keys_of.get(key, key)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.group)

    def __len__(self) -> int:
        return len(self.group)


def seen_by(keys: Mapping[str, str], group: Any) -> Any:
    """Return a group under the names in `keys`; the group itself where none differs."""
    return _Renamed(group, keys) if any(k != v for k, v in keys.items()) else group
