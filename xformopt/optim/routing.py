"""Several transforming optimizers behind one `torch.optim.Optimizer`, a route each."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Optimizer

from xformopt.optim.bound import Bound
from xformopt.optim.buckets import Buckets, Given
from xformopt.optim.core import ParamTransformingOptimizer
from xformopt.optim.route import FIELDS, Named, Route, assign, sort_out
from xformopt.optim.saving import by_name, load, loaded, pack, saved, unpack
from xformopt.optim.stepping import step_inside
from xformopt.optim.unread import refuse_unread, sets
from xformopt.schedules import Schedule
from xformopt.text import as_text, close_matches
from xformopt.transforms.link import Link, Transforms, as_chain


class RoutedOptimizer(Optimizer):
    """Several transforming optimizers behind one: each route has its chain and inner optimizer.

    `param_groups` are those of all routes in order, `state` is shared by all, so that schedulers,
    `zero_grad`, `state_dict` and `load_state_dict` see one optimizer.

    Args:
        params: the model, or `model.named_parameters()`.
        routes: an ordered mapping name → route.
        inner: the inner optimizer of routes that name none; SGD if None.
        transforms: the chain of routes that name none; its links over all gradients, such as
            `clip_total_norm`, run once, over the gradients of all routes, before their chains.
        strict_ndim: whether too small a parameter is an error, or one whole item.
        **settings: settings of `ParamTransformingOptimizer` for all routes, and of inner optimizers
            where a route, or the partial that it names, does not set them itself.

    Raises:
        ValueError: for a parameter that no rule takes, a rule that takes nothing, or what no route
            reads.

    >>> from functools import partial
    >>> from xformopt import transforms as T
    >>> layer = torch.nn.Linear(2, 3)
    >>> optim = RoutedOptimizer(layer.named_parameters(), {
    ...     "matrices": Route(ndim=2, transforms=[T.orthogonalize()], param_ndim=2, lr=0.02),
    ...     "rest": Route(inner=partial(torch.optim.AdamW, lr=1e-3))})
    >>> print(optim.describe())
    route     rule       inner  transforms     parameters  entries  shapes
    -----     ----       -----  ----------     ----------  -------  ------
    matrices  *, ndim 2  SGD    orthogonalize  weight      6        (3, 2)
    rest      *          AdamW  none           bias        3        (3,)
    """

    def __init__(
        self,
        params: nn.Module | Iterable[tuple[str, Tensor]],
        routes: Mapping[str, Route],
        *,
        inner: Callable[..., Optimizer] | None = None,
        transforms: Transforms = None,
        strict_ndim: bool = False,
        **settings: Any,
    ) -> None:
        """Assign the parameters and build an optimizer for each route."""
        assigned = assign(params, routes)
        chain = as_chain(transforms)
        self.common = {n: link for n, link in chain.items() if link.transform.scope == "optimizer"}
        _refuse_schedules(self.common)
        transforms = {name: link for name, link in chain.items() if name not in self.common}
        refuse_unread(routes, inner, transforms, settings)
        settings["strict_ndim"] = strict_ndim
        self.routes = dict(routes)
        self.frozen = {name: taken for name, taken in assigned.items() if routes[name].freeze}
        for taken in self.frozen.values():
            _freeze(taken)
        self._buckets = Buckets()
        self._shared = (inner or SGD, transforms, settings)
        self.optimizers: dict[str, ParamTransformingOptimizer] = {
            name: self._build(name, taken)
            for name, taken in assigned.items()
            if name not in self.frozen
        }
        if not self.optimizers:
            raise ValueError("every route freezes its parameters: nothing is left to train")
        self._order = [name for name, o in self.optimizers.items() for _ in o.param_groups]
        self.defaults: dict[str, Any] = {}
        self.state = next(iter(self.optimizers.values())).state
        super().__setstate__({})

    def _get_param_groups(self) -> list[dict[str, Any]]:
        """Those of all routes, in order; groups that were added stand last."""
        groups = {name: iter(optimizer.param_groups) for name, optimizer in self.optimizers.items()}
        return [next(groups[route]) for route in self._order]

    def _set_param_groups(self, groups: list[dict[str, Any]]) -> None:
        for name, optimizer in self.optimizers.items():
            own = zip(self._order, groups, strict=True)
            optimizer.param_groups = [group for route, group in own if route == name]

    param_groups: Any = property(_get_param_groups, _set_param_groups)

    def _get_state(self) -> Any:
        return next(iter(self.optimizers.values())).state

    def _set_state(self, state: Any) -> None:
        for optimizer in self.optimizers.values():
            optimizer.state = state

    state: Any = property(_get_state, _set_state)

    @property
    def transforms(self) -> dict[str, Any]:
        """The links over all routes, then those of each, by `route.name`."""
        chains = {route: optimizer.transforms for route, optimizer in self.optimizers.items()}
        own = {f"{r}.{name}": link for r, chain in chains.items() for name, link in chain.items()}
        return {**self.common, **own}

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Step each route's optimizer; the closure is called once, before all of them."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for name, link in self.common.items():
                bound = Bound(name, link.transform, {}, link.settings)
                self._buckets.run(bound, self.param_groups, Given({}, {}, False))
        for optimizer in self.optimizers.values():
            step_inside(optimizer)
        return loss

    def train(self) -> None:
        """Put inner optimizers that have modes into training."""
        for optimizer in self.optimizers.values():
            optimizer.train()

    def eval(self) -> None:
        """Put inner optimizers that have modes into evaluation."""
        for optimizer in self.optimizers.values():
            optimizer.eval()

    def project(self) -> None:
        """Apply the post-step transforms of every route now, without a step."""
        for optimizer in self.optimizers.values():
            optimizer.project()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the route that its key `route` names, or whose rules take its names."""
        params = _listed(param_group["params"])
        held = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p[1] if isinstance(p, tuple) else p) in held for p in params):
            raise ValueError("some parameters of the group are in a route already")
        if "route" not in param_group:
            for name, taken in sort_out(params, self.routes, whole=False).items():
                if taken:
                    self._add_to(name, {**param_group, "params": taken, "route": name})
            return
        route = param_group["route"]
        if route not in self.routes:
            raise ValueError(f"`route` of the group must be in {[*self.routes]}, got {route!r}")
        self._add_to(route, {**param_group, "params": params})

    def _add_to(self, route: str, group: dict[str, Any]) -> None:
        """Add a group to a route: one that freezes, one that took nothing so far, or any other."""
        if self.routes[route].freeze:
            _freeze(group["params"])
            self.frozen[route] = [*self.frozen.get(route, []), *group["params"]]
            return
        if route in self.optimizers:
            _refuse_unknown(route, self.optimizers[route], group)
            self.optimizers[route].add_param_group(group)
        else:
            own = {k: v for k, v in group.items() if k not in ("params", "route")}
            made = self._build(route, group["params"], own)
            made.state = self.state
            self.optimizers[route] = made
        self._order.append(route)

    def _build(
        self, name: str, taken: Named, own: Mapping[str, Any] | None = None
    ) -> ParamTransformingOptimizer:
        return _build(self.routes[name], name, taken, own or {}, *self._shared)

    def state_dict(self) -> dict[str, Any]:
        """Return the state dict, with links and generators of each route."""
        return saved(self, self._saved)

    def _saved(self) -> dict[str, Any]:
        for optimizer in self.optimizers.values():
            optimizer._settle()
        state_dict = _Whole(self.param_groups, self.state).state_dict()
        for name, optimizer in self.optimizers.items():
            pack(_of(name, state_dict["param_groups"]), optimizer.transforms)
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave, for the same routes, by the names of the parameters."""
        loaded(self, state_dict, self._load)

    def _load(self, state_dict: dict[str, Any]) -> None:
        ours = _routes_of(self.param_groups)
        theirs = _routes_of(state_dict["param_groups"])
        if ours != theirs:
            raise ValueError(
                f"the state dict has other routes: `route` is {theirs} where this optimizer has "
                f"{ours}"
            )
        state_dict = by_name(self.param_groups, state_dict)
        checked = {}
        for name, optimizer in self.optimizers.items():
            own = _of(name, state_dict["param_groups"])
            checked[name] = iter(unpack(optimizer.param_groups, own, optimizer.transforms))
        groups = [next(checked[group["route"]]) for group in state_dict["param_groups"]]
        names = {n for optimizer in self.optimizers.values() for n in optimizer._chain.state.keys}
        load(self, {**state_dict, "param_groups": groups}, names, self._load_whole)
        for optimizer in self.optimizers.values():
            optimizer._go_on()

    def _load_whole(self, state_dict: dict[str, Any]) -> None:
        whole = _Whole(self.param_groups, self.state)
        whole.load_state_dict(state_dict)
        self.param_groups, self.state = whole.param_groups, whole.state

    def describe(self) -> str:
        """Return the resolved routing as a table: route, rule, and the parameters it took."""
        rows = []
        for name, optimizer in self.optimizers.items():
            named = [
                pair
                for group in optimizer.param_groups
                for pair in zip(group["param_names"], group["params"], strict=True)
            ]
            inner = type(optimizer.inner_opt).__name__
            rows.append(self._row(name, inner, ", ".join(optimizer.transforms) or "none", named))
        rows += [self._row(name, "frozen", "", taken) for name, taken in self.frozen.items()]
        header = ("route", "rule", "inner", "transforms", "parameters", "entries", "shapes")
        return as_text(header, rows)

    def _row(self, name: str, inner: str, chain: str, named: Named) -> tuple[str, ...]:
        shapes = dict.fromkeys(str(tuple(p.shape)) for _, p in named)
        names = ", ".join(_patterns(name for name, _ in named))
        entries = str(sum(p.numel() for _, p in named))
        return name, repr(self.routes[name]), inner, chain, names, entries, " ".join(shapes)

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy need."""
        names = ("routes", "frozen", "common", "optimizers", "_order", "_shared", "_buckets")
        return {name: vars(self)[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` or `load_state_dict` gave."""
        state = dict(state)
        self.__dict__.update(
            {
                k: state.pop(k)
                for k in ("routes", "frozen", "common", "optimizers", "_shared", "_buckets")
                if k in state
            }
        )
        for name, value in state.items():
            setattr(self, name, value)
        self.defaults = {}
        self.state = self.state
        super().__setstate__({})


class _Whole(Optimizer):
    """The groups and the state of all routes, without hooks, as torch saves and loads them."""

    def __init__(self, groups: list[dict[str, Any]], state: Any) -> None:
        self.param_groups, self.state, self.defaults = groups, state, {}
        super().__setstate__({})


def _patterns(names: Iterable[str]) -> list[str]:
    """Return the names; those that differ in numbers alone once, as `blocks.*.weight (12)`."""
    like: dict[str, list[str]] = {}
    for name in names:
        pattern = ".".join("*" if part.isdigit() else part for part in name.split("."))
        like.setdefault(pattern, []).append(name)
    return [f"{k} ({len(held)})" if held[1:] else held[0] for k, held in like.items()]


def _freeze(named: Named) -> None:
    for _, param in named:
        param.requires_grad_(False)


def _listed(params: Any) -> list[Any]:
    return [params] if isinstance(params, tuple | Tensor) else list(params)


def _refuse_schedules(common: Mapping[str, Link]) -> None:
    for name, link in common.items():
        for key, value in link.settings.items():
            if isinstance(value, Schedule):
                raise ValueError(
                    f"`{name}.{key}` acts over all routes and has no group to count steps in: it "
                    f"must be a number, got {value!r}"
                )


def _routes_of(groups: list[dict[str, Any]]) -> str:
    return ", ".join(sorted({str(group.get("route")) for group in groups}))


def _of(route: str, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [group for group in groups if group.get("route") == route]


def _refuse_unknown(route: str, optimizer: ParamTransformingOptimizer, group: Any) -> None:
    known = {*optimizer.defaults, *optimizer.transforms, "params", "param_names", "route"}
    for key in group:
        if key not in known:
            hint = close_matches(key, [*FIELDS, *optimizer.defaults])
            raise TypeError(f"route `{route}` has a setting `{key}` that nothing reads: {hint}")


def _build(
    route: Route,
    name: str,
    taken: Named,
    added: Mapping[str, Any],
    inner: Callable[..., Optimizer],
    transforms: Transforms,
    settings: dict[str, Any],
) -> ParamTransformingOptimizer:
    own = {**route.settings, **added}
    shared = {k: v for k, v in settings.items() if not (route.inner and sets(route, k))}
    shared.update({k: own.pop(k) for k in ("param_ndim", "strict_ndim") if k in own})
    group = {"params": taken, "route": name, **own}
    try:
        optimizer = ParamTransformingOptimizer(
            [group],
            route.inner or inner,
            transforms=transforms if route.transforms is None else route.transforms,
            **shared,
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"route `{name}`: {error}") from error
    if isinstance(optimizer.inner_opt, LBFGS):
        raise ValueError(
            f"route `{name}`: LBFGS evaluates the loss itself and cannot share a step; use it alone"
        )
    _refuse_unknown(name, optimizer, group)
    return optimizer
