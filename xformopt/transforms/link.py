"""A link: a transform with its settings. A chain: an ordered mapping name → link."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch

from xformopt.refused import Refused, RefusedType, standing_in
from xformopt.transforms.settings import shown

if TYPE_CHECKING:
    from xformopt.transforms.definition import Transform

INHERIT = "inherit"
"""The `param_ndim` of a link that takes the one of the parameter group."""

When = Literal["pre", "update", "post"]


class Link:
    """A transform with its settings, its `param_ndim`, when it runs, and how it keeps its state.

    Made by calling a transform: `top_q(q=0.9, param_ndim=1)`.

    >>> from xformopt.transforms import top_q
    >>> top_q(q=0.7, param_ndim=1)
    top_q(q=0.7, dq=0.0, param_ndim=1)
    """

    __slots__ = ("resources", "settings", "state_dtype", "transform", "when")

    def __init__(
        self,
        transform: "Transform",
        settings: Mapping[str, Any],
        param_ndim: int | Literal["inherit"] | None = INHERIT,
        when: When | None = None,
        state_dtype: torch.dtype | str | None = None,
    ) -> None:
        """Check the settings and keep them."""
        with standing_in(f"transforms.{transform.name}"):
            _check_when(transform, when)
            _check_ndim(transform, param_ndim)
            self.state_dtype = _checked_dtype(transform, state_dtype)
            values = transform.complete(settings)
        resources = {k for k, s in transform.settings.items() if s.is_resource}
        self.transform = transform
        self.when: When = when or transform.when
        self.resources = {k: v for k, v in values.items() if k in resources}
        self.settings = {k: v for k, v in values.items() if k not in resources}
        self.settings["param_ndim"] = param_ndim

    @property
    def reads_param_ndim(self) -> bool:
        """Whether its result hangs on the `param_ndim` of the parameter group."""
        by_item = self.transform.scope == "item" and self.transform.items != "entry"
        return by_item and self.settings["param_ndim"] == INHERIT

    def __repr__(self) -> str:
        """Show the call that makes this link."""
        given = dict(self.settings)
        if given["param_ndim"] == INHERIT:
            del given["param_ndim"]
        if self.when != self.transform.when:
            given["when"] = self.when
        if self.state_dtype is not None:
            given["state_dtype"] = str(self.state_dtype).removeprefix("torch.")
        return f"{self.transform.name}({', '.join(f'{k}={shown(v)}' for k, v in given.items())})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy by attribute, since there is no `__dict__`."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` gave."""
        for name, value in state.items():
            setattr(self, name, value)


Transforms = Link | Iterable[Link] | Mapping[str, Link] | None
"""What the argument `transforms=` takes."""


def as_chain(transforms: Transforms) -> dict[str, Link]:
    """Return an ordered mapping name → link; a repeated name gets `_2`, `_3`, …

    >>> from xformopt.transforms import sign, top_q
    >>> list(as_chain([top_q(q=0.5), sign(), top_q(q=0.9)]))
    ['top_q', 'sign', 'top_q_2']
    """
    if isinstance(transforms, Link):
        transforms = [transforms]
    if isinstance(transforms, Mapping):
        return {str(k): _checked(link, f"transforms.{k}") for k, link in transforms.items()}
    chain: dict[str, Link] = {}
    for i, link in enumerate(transforms or ()):
        _checked(link, f"transforms[{i}]")
        chain[free_name(link.transform.name, chain)] = link
    return chain


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return `name`, or `name_2`, `name_3`, … where it is taken."""
    taken, candidate, count = set(taken), name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    return candidate


def check_param_ndim(param_ndim: Any) -> None:
    """Refuse a `param_ndim` that is neither an int nor None."""
    is_int = isinstance(param_ndim, int) and not isinstance(param_ndim, bool)
    if param_ndim is not None and not is_int:
        raise RefusedType("param_ndim", "an int or None", param_ndim)


def _check_ndim(transform: "Transform", param_ndim: Any) -> None:
    if param_ndim == INHERIT:
        return
    if transform.scope == "optimizer":
        says = f"`{transform.name}` acts on all gradients at once: no `param_ndim`"
        raise RefusedType("param_ndim", value=param_ndim, says=says)
    check_param_ndim(param_ndim)


def _check_when(transform: "Transform", when: Any) -> None:
    if when in (None, transform.when):
        return
    if when == "pre" and "update" in transform.tensors[1:]:
        says = f"`when='pre'` of `{transform.name}`: it reads the update, which is not made then"
        raise Refused("when", value=when, of=transform.name, says=says)
    if transform.target == "update" or when not in ("pre", "post"):
        rule = "'update'" if transform.target == "update" else "'pre' or 'post'"
        says = f"`when` of `{transform.name}` must be {rule}, got {when!r}"
        raise Refused("when", rule, when, of=transform.name, says=says)
    if transform.target == "grad":
        says = (
            f"`when='post'` of `{transform.name}` has no effect: it writes gradients, which "
            "nothing reads after the step"
        )
        raise Refused("when", value=when, says=says)


def _checked_dtype(transform: "Transform", asked: Any) -> torch.dtype | str | None:
    """Return the dtype of buffers: None for at least float32, 'param' for the parameter's own."""
    if asked is None:
        return None
    if not transform.state:
        says = f"`{transform.name}` keeps no state: no `state_dtype`"
        raise RefusedType("state_dtype", value=asked, says=says)
    dtype = getattr(torch, asked, None) if isinstance(asked, str) else asked
    if asked == "param" or (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        return asked if asked == "param" else dtype
    rule = "None (at least float32), 'param' or a floating dtype such as 'bfloat16'"
    says = f"`state_dtype` of `{transform.name}` must be {rule}, got {asked!r}"
    raise Refused("state_dtype", rule, asked, of=transform.name, says=says)


def _checked(link: Any, where: str) -> Link:
    if isinstance(link, Link):
        return link
    name = getattr(link, "name", None)
    way_out = f"call the transform: `{name}()`" if name else "write for instance `sign()`"
    raise RefusedType(where, "a link", link, way_out)
