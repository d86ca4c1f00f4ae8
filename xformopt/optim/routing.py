"""Several transforming optimizers behind one `torch.optim.Optimizer`, a route each."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Optimizer

from xformopt.optim.buckets import run_optimizer_link
from xformopt.optim.core import ParamTransformingOptimizer
from xformopt.optim.route import FIELDS, Named, Route, assign, sort_out
from xformopt.optim.saving import check_same_chain
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
        inner: the inner optimizer of routes that name none.
        transforms: the chain of routes that name none; its links over all gradients, such as
            `clip_total_norm`, run once, over the gradients of all routes, before their chains.
        strict_ndim: whether too small a parameter is an error, or one whole item.
        **settings: settings of `ParamTransformingOptimizer` for all routes.

    Raises:
        ValueError: for a parameter that no rule takes, or a rule that takes nothing.

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
        inner: Callable[..., Optimizer] = SGD,
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
        settings["strict_ndim"] = strict_ndim
        self.routes = dict(routes)
        self.frozen = {name: taken for name, taken in assigned.items() if routes[name].freeze}
        for taken in self.frozen.values():
            _freeze(taken)
        self._shared = (inner, transforms, settings)
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
                settings = {f"{name}.{key}": value for key, value in link.settings.items()}
                run_optimizer_link(name, link, [{**g, **settings} for g in self.param_groups])
        for optimizer in self.optimizers.values():
            optimizer.step()
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
            self.optimizers[route].add_param_group(group)
        else:
            own = {k: v for k, v in group.items() if k not in ("params", "route")}
            made = self._build(route, group["params"])
            made.state = self.state
            made.param_groups[0].update(own)
            self.optimizers[route] = made
        self._order.append(route)

    def _build(self, name: str, taken: Named) -> ParamTransformingOptimizer:
        return _build(self.routes[name], name, taken, *self._shared)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave, for the same parameters under the same routes."""
        for ours, theirs in zip(self.param_groups, state_dict["param_groups"], strict=False):
            for key in ("route", "param_names"):
                if ours[key] != theirs.get(key):
                    raise ValueError(
                        f"the state dict has other routes: `{key}` is {theirs.get(key)} where this "
                        f"optimizer has {ours[key]}"
                    )
        for name, optimizer in self.optimizers.items():
            own = [group for group in state_dict["param_groups"] if group.get("route") == name]
            check_same_chain(optimizer.param_groups, own)
        super().load_state_dict(state_dict)
        for optimizer in self.optimizers.values():
            optimizer.link_state.settle(self.state)

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
        names = ("routes", "frozen", "common", "optimizers", "_order", "_shared")
        return {name: vars(self)[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` or `load_state_dict` gave."""
        state = dict(state)
        self.__dict__.update(
            {
                k: state.pop(k)
                for k in ("routes", "frozen", "common", "optimizers", "_shared")
                if k in state
            }
        )
        for name, value in state.items():
            setattr(self, name, value)
        self.defaults = {}
        self.state = self.state
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


def _build(
    route: Route,
    name: str,
    taken: Named,
    inner: Callable[..., Optimizer],
    transforms: Transforms,
    settings: dict[str, Any],
) -> ParamTransformingOptimizer:
    own = dict(route.settings)
    shared = {**settings, **{k: own.pop(k) for k in ("param_ndim", "strict_ndim") if k in own}}
    try:
        optimizer = ParamTransformingOptimizer(
            [{"params": taken, "route": name, **own}],
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
    for key in own:
        if key not in optimizer.defaults:
            hint = close_matches(key, [*FIELDS, *optimizer.defaults])
            raise TypeError(f"route `{name}` has a setting `{key}` that nothing reads: {hint}")
    return optimizer
