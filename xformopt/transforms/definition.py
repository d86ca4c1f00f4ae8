"""What a transform is: a named in-place function, and what is derived from its signature."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from xformopt.refused import Refused, RefusedType
from xformopt.schedules import Schedule, as_schedule
from xformopt.transforms.link import INHERIT, Link, When
from xformopt.transforms.settings import Setting, refuse_unknown, settings_of

StateInit = Callable[[Tensor], Tensor]
State = tuple[str, ...] | Mapping[str, StateInit | Literal["counter"]]
"""The buffers of a transform: names, for zeros, or what makes each from the parameter."""

TENSORS = {
    "item": {("grad",), ("param",), ("grad", "param"), ("param", "grad"), ("grad", "raw_grad")},
    "optimizer": {("grads",)},
}
"""What the tensor arguments may be called, by the scope of the transform."""

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
        self.state = _initialisers(state)
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
        self.tensors = _tensors(fn, tuple(self.state), TENSORS[scope])
        self.counters = [
            len(self.tensors) + i for i, init in enumerate(self.state.values()) if init is _counter
        ]
        self.settings: dict[str, Setting] = settings_of(fn)
        self._check = check
        self._draws = draws
        self.standard = dict(standard or {})
        self.averages = averages
        if averages is not None and averages not in self.state:
            raise Refused(
                f"`averages` of `{self.name}` must be among its buffers {[*self.state]}, got "
                f"{averages!r}"
            )
        self.__signature__ = _link_signature(fn, self.when, bool(self.state))
        unknown = set(laws) - set(get_args(Law))
        if unknown:
            raise Refused(f"`laws` of `{self.name}` must be among {get_args(Law)}, got {laws}")

    @property
    def target(self) -> str:
        """What the transform writes: 'grad' or 'param'."""
        return self.tensors[0].removesuffix("s")

    @property
    def when(self) -> When:
        """When it runs unless the link says otherwise: gradients 'pre', parameters 'post'."""
        return "pre" if self.target == "grad" else "post"

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


def _initialisers(state: State) -> dict[str, StateInit]:
    if not isinstance(state, Mapping):
        return dict.fromkeys(state, torch.zeros_like)
    for name, init in state.items():
        if init == "counter" and name != "step":
            raise Refused(f"a counter must be named `step`, which torch loads as it is: {name}")
    return {name: _counter if init == "counter" else init for name, init in state.items()}


def _counter(param: Tensor) -> Tensor:
    return torch.zeros((), dtype=torch.float32, device=param.device)


def _tensors(
    fn: Callable[..., None], state: tuple[str, ...], known: set[tuple[str, ...]]
) -> tuple[str, ...]:
    arguments = inspect.signature(fn).parameters.values()
    positional = tuple(a.name for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD)
    count = len(positional) - len(state)
    tensors, buffers = positional[:count], positional[count:]
    if tensors not in known or buffers != state:
        raise RefusedType(
            f"the arguments of transform `{fn.__name__}` must be `grad` or `param` (what it "
            f"writes), then what it reads, then its state {state}; got {positional}"
        )
    return tensors


def _link_signature(fn: Callable[..., None], when: When, keeps: bool) -> inspect.Signature:
    """The signature of the call that makes a link: settings, and what all links have."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    settings = [
        a.replace(annotation=Any)
        for a in inspect.signature(fn).parameters.values()
        if a.kind is keyword
    ]
    shared = [
        inspect.Parameter("param_ndim", keyword, default=INHERIT, annotation=Any),
        inspect.Parameter("when", keyword, default=when, annotation=Any),
    ]
    if keeps:
        shared.append(inspect.Parameter("state_dtype", keyword, default=None, annotation=Any))
    return inspect.Signature([*settings, *shared])
