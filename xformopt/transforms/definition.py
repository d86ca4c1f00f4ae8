"""What a transform is: a named in-place function, and what is derived from its signature."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from xformopt.refused import Refused, RefusedType
from xformopt.schedules import Schedule, as_schedule
from xformopt.transforms.buffers import ENTRIES, Buffer, Shape, State, buffers
from xformopt.transforms.link import INHERIT, Link, When
from xformopt.transforms.settings import RATE, Setting, refuse_unknown, settings_of
from xformopt.transforms.signature import TIMES, link_signature, tensors_of

Standard = Mapping[str, str | tuple[str, ...]]
"""What torch's optimizers call settings of a transform."""

Law = Literal["idempotent", "scale_invariant", "odd", "nonexpansive", "nan_is_zero"]
"""What a transform may declare of itself; the tests hold it to its word."""

Items = Literal["entry", "item", "matrix"]
"""What a transform takes: each entry, an item of so many, or it as a matrix, `(d1, d2·d3·…)`.

One of one dimension is a matrix of one column then: its rows are single entries.
"""


class Transform:
    """A named in-place function of a batch tensor, and all that is derived from its signature.

    Calling it gives a `Link`; `fn` is the function itself, for batch tensors of shape `(N, *d)`.
    """

    def __init__(
        self,
        fn: Callable[..., None],
        *,
        state: State = (),
        elementwise: bool = False,
        foreach: Callable[..., Any] | None = None,
        costly: bool = False,
        items: Items = "item",
        scope: Literal["item", "optimizer"] = "item",
        laws: tuple[Law, ...] = (),
        check: Callable[..., str | None] | None = None,
        draws: Callable[..., bool] | None = None,
        standard: Standard | None = None,
        averages: str | None = None,
    ) -> None:
        """Read name, tensors, settings and documentation off `fn`."""
        functools.update_wrapper(self, fn, ("__module__", "__name__", "__qualname__", "__doc__"))
        self.fn = fn
        self.name = fn.__name__
        self.state: dict[str, Buffer] = buffers(self.name, state)
        self.scope = scope
        self.elementwise = elementwise
        if foreach and not elementwise:
            raise Refused(f"`foreach` of `{self.name}` needs `elementwise=True`: it sees no items")
        self.foreach = foreach
        self.costly = costly
        if items not in get_args(Items) or (items == "matrix" and elementwise):
            raise Refused(
                f"`items` of `{self.name}` must be among {get_args(Items)}, and no matrix where it "
                f"is elementwise; got {items!r}"
            )
        self.items: Items = "entry" if elementwise else items
        self.laws = laws
        self.tensors = tensors_of(fn, tuple(self.state), scope)
        self.columns = [*[ENTRIES] * len(self.tensors), *self.state.values()]
        kinds = [held.kind for held in self.columns]
        self.entries = [k for k, kind in enumerate(kinds) if kind == "entries"]
        self.counters = [k for k, held in enumerate(self.columns) if held.is_counter]
        if elementwise and "item" in kinds:
            raise Refused(
                f"`{self.name}` is elementwise, and sees no items, for which `PerItem` would keep "
                "buffers: declare them by name, `state=(…)`, or drop `elementwise=True`"
            )
        self.settings: dict[str, Setting] = settings_of(fn)
        self.reads_rate = RATE in inspect.signature(fn).parameters
        self._check = check
        self._draws = draws
        self.standard = dict(standard or {})
        self.averages = averages
        if averages is not None and averages not in self.state:
            raise Refused(
                f"`averages` of `{self.name}` must be among its buffers {[*self.state]}, got "
                f"{averages!r}"
            )
        self.__signature__ = link_signature(fn, self.when, bool(self.state))
        unknown = set(laws) - set(get_args(Law))
        if unknown:
            raise Refused(f"`laws` of `{self.name}` must be among {get_args(Law)}, got {laws}")

    @property
    def target(self) -> str:
        """What the transform writes: 'grad', 'update' or 'param'."""
        return self.tensors[0].removesuffix("s")

    @property
    def when(self) -> When:
        """When it runs unless the link says otherwise: gradients 'pre', parameters 'post'."""
        return TIMES[self.tensors[0]]

    @property
    def reads_grad(self) -> bool:
        """Whether it writes or reads gradients, so that it acts where there is one."""
        return any("grad" in name for name in self.tensors)

    @property
    def is_of_steps(self) -> bool:
        """Whether it needs a step: what this made, the gradient before the chain, or the rate."""
        return self.reads_rate or not {"update", "raw_grad"}.isdisjoint(self.tensors)

    def __call__(
        self,
        *values: Any,
        param_ndim: int | Literal["inherit"] | None = INHERIT,
        when: When | None = None,
        state_dtype: torch.dtype | str | None = None,
        **settings: Any,
    ) -> Link:
        """Return a link that holds these settings, which are given by name."""
        if values:
            names = ", ".join(f"{name}=…" for name in self.settings) or "no settings"
            raise RefusedType(f"`{self.name}` takes its settings by name, {names}; got {values}")
        return Link(self, settings, param_ndim, when, state_dtype)

    def complete(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return `settings` with the defaults filled in, checked."""
        offered = inspect.signature(self).parameters
        refuse_unknown(self.name, settings, self.settings, offered)
        values = {k: as_schedule(settings.get(k, s.default)) for k, s in self.settings.items()}
        self.check(values)
        return values

    def check(self, values: Mapping[str, Any], *, entries: bool = True) -> None:
        """Raise where a value breaks its rule, or the rule of all together.

        Of tensors, the `entries` are looked at or not.
        """
        own = {name: values.get(name, s.default) for name, s in self.settings.items()}
        for name, value in own.items():
            if value is inspect.Parameter.empty:
                rule = self.settings[name].says
                says = f"`{self.name}` needs a value for `{name}` ({rule})"
                raise RefusedType(name, rule, of=self.name, says=says)
            self.settings[name].check(self.name, value, entries=entries)
        if self._check and (entries or not any(isinstance(v, Tensor) for v in own.values())):
            self._check_together(own)

    def _check_together(self, own: dict[str, Any]) -> None:
        assert self._check
        ends = {value.last for value in own.values() if isinstance(value, Schedule)}
        for step in (0, *ends):
            wrong = self._check(**{k: self.settings[k].at(v, step) for k, v in own.items()})
            if wrong:
                raise Refused("", of=self.name, says=f"`{self.name}`: {wrong}")

    def fresh(self, batch: Tensor) -> list[Tensor]:
        """Return its buffers as they begin beside a batch tensor of shape `(N, *d)`."""
        return [held.begun(batch, batch.ndim - 1) for held in self.state.values()]

    def seen_as(self, batch: Shape) -> list[Shape | None]:
        """Return the shapes in which it is given what it takes beside a batch of this shape."""
        return [held.seen_as(batch) for held in self.columns]

    def draws(self, values: Mapping[str, Any]) -> bool:
        """Return whether it draws random numbers, so that its calls must keep their order."""
        if self._draws is None:
            return any(setting.is_resource for setting in self.settings.values())
        return self._draws(**values)

    def __repr__(self) -> str:
        """Show the name and where it comes from."""
        return f"<transform {self.name} of {self.__module__}>"

    def __reduce__(self) -> str:
        """Pickle and copy by reference, as functions do."""
        return self.fn.__qualname__
