"""Several transforming optimizers behind one `torch.optim.Optimizer`, a route each."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from xformopt.optim.assigning import Group, as_groups, assign, sort_out
from xformopt.optim.building import Beside, add, build, defaults_of, place, settle_momentum
from xformopt.optim.chain import Chain
from xformopt.optim.core import ParamTransformingOptimizer
from xformopt.optim.described import describe
from xformopt.optim.roles import roles
from xformopt.optim.route import Route
from xformopt.optim.saving import by_name, load, loaded, pack, saved, unpack
from xformopt.optim.stepping import step_inside
from xformopt.optim.unread import refuse_unread
from xformopt.refused import Refused, RefusedType, anew
from xformopt.transforms.link import Link, Transforms, as_chain

KEPT = (
    "routes", "frozen", "strict_ndim", "defaults", "param_groups",
    "_optimizers", "_common", "_beside",
)  # fmt: skip
"""The attributes that pickle and copy take along."""


class RoutedOptimizer(Optimizer):
    """Several transforming optimizers behind one: each route has its chain and inner optimizer.

    `param_groups` are those of all routes in order, each with its `route`; `state` is shared by
    all, so that schedulers, `zero_grad`, `state_dict` and `load_state_dict` see one optimizer. A
    group that is taken out of `param_groups` is no longer trained.

    Args:
        params: the model, `model.named_parameters()`, or groups of named parameters, which are
            split among the routes, each part with its group's settings over those of the route.
        routes: an ordered mapping name → route.
        inner: the inner optimizer of routes that name none; SGD if None.
        transforms: the chain of routes that name none; its links over all gradients, such as
            `clip_total_norm`, run once, over the gradients of all routes, before their chains, with
            the settings that all groups hold, `param_groups[i]["clip_total_norm.max_norm"]`.
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
        params: nn.Module | Iterable[Any],
        routes: Mapping[str, Route],
        *,
        inner: Callable[..., Optimizer] | None = None,
        transforms: Transforms = None,
        strict_ndim: bool = False,
        **settings: Any,
    ) -> None:
        """Assign the parameters and build an optimizer for each route."""
        if "InnerOpt" in settings:
            raise RefusedType("`InnerOpt` is `inner` here: that of the routes which name none")
        assigned = assign(params, routes)
        chain = as_chain(transforms)
        common = {n: link for n, link in chain.items() if link.transform.scope == "optimizer"}
        transforms = {name: link for name, link in chain.items() if name not in common}
        refuse_unread(routes, inner, transforms, settings)
        settings["strict_ndim"] = self.strict_ndim = strict_ndim
        self.routes, self.frozen = dict(routes), {}
        self._common = Chain(common, {})
        self._beside = Beside(inner or SGD, transforms, settings, common)
        self._optimizers: dict[str, ParamTransformingOptimizer] = {}
        self.param_groups: list[Group] = []
        for group in (group for groups in assigned.values() for group in groups):
            self._add(group)
        if not self._optimizers:
            raise Refused("every route freezes its parameters: nothing is left to train")
        super().__setstate__({})

    @property
    def optimizers(self) -> dict[str, ParamTransformingOptimizer]:
        """The optimizer of each route, which holds those of `param_groups` that name the route."""
        if torch.compiler.is_compiling():  # it loses track of groups that two lists hold
            return self._optimizers
        for i, group in enumerate(self.param_groups):
            if group.get("route") not in self._optimizers:
                raise Refused(
                    f"`param_groups[{i}]` is of no route: add groups by `add_param_group`"
                )
        for name, optimizer in self._optimizers.items():
            optimizer.param_groups[:] = _of(name, self.param_groups)
        return self._optimizers

    def _get_state(self) -> Any:
        return next(iter(self._optimizers.values())).state

    def _set_state(self, state: Any) -> None:
        for optimizer in self._optimizers.values():
            optimizer.state = state

    state: Any = property(_get_state, _set_state)

    @property
    def common(self) -> dict[str, Link]:
        """The links over all routes."""
        return dict(self._common.links)

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
        optimizers = [*self.optimizers.values()]
        for optimizer in optimizers:
            settle_momentum(optimizer)
        self._run_common("pre", optimizers)
        for optimizer in optimizers:
            step_inside(optimizer)
        self._run_common("post", optimizers)
        return loss

    @torch.no_grad()
    def _run_common(self, when: str, optimizers: list[ParamTransformingOptimizer]) -> None:
        """Run the links over all routes, with the settings that all groups hold for this step."""
        if not self._common.links:
            return
        for optimizer in optimizers if when == "pre" else ():
            optimizer._scheduled.follow(optimizer.param_groups)
        self._common.run(when, [], self)

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

    def add_param_group(self, param_group: Group) -> None:
        """Add a group to the route that its key `route` names, or whose rules take its names.

        It has the settings of the route, under its own.
        """
        groups = as_groups([param_group])
        pairs = [pair for group in groups for pair in group["params"]]
        held = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p) in held for _, p in pairs):
            raise Refused("some parameters of the group are in a route already")
        route = param_group.get("route")
        if route is None:
            sorted_out = sort_out(groups, self.routes, roles(pairs, whole=False))
            groups = [group for taken in sorted_out.values() for group in taken]
        elif route not in self.routes:
            raise Refused(f"`route` of the group must be in {[*self.routes]}, got {route!r}")
        for group in groups:
            self._add(group)

    def _add(self, group: Group) -> None:
        """Add a group to its route: one that freezes, that took nothing so far, or any other."""
        name, optimizers = group["route"], self._optimizers
        if self.routes[name].freeze:
            self.frozen[name] = [*self.frozen.get(name, []), *group["params"]]
            for _, param in group["params"]:
                param.requires_grad_(False)
            return
        try:
            if name in optimizers:
                add(self.routes[name], group, optimizers[name])
            else:
                made = build(self.routes[name], group, self._beside)
                made.state = self.state if optimizers else made.state
                optimizers[name] = made
        except (TypeError, ValueError) as error:
            said = anew(error, f"route `{name}`: {error}")
            raise place(said, name, self.routes[name]) from error
        optimizer, beside = optimizers[name], self._common.defaults()
        optimizer._keys_beside = frozenset(beside)
        added = optimizer.param_groups[-1]
        added.update(beside)
        optimizer._scheduled.take(added)
        self.param_groups.append(added)
        self.defaults = defaults_of(optimizers.values())

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
            raise Refused(
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
        return describe(self.routes, self.optimizers, self.frozen)

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy need."""
        return {name: vars(self)[name] for name in KEPT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` or `load_state_dict` gave."""
        state = dict(state)
        self.__dict__.update({name: state.pop(name) for name in KEPT if name in state})
        for name, value in state.items():
            setattr(self, name, value)
        super().__setstate__({})


class _Whole(Optimizer):
    """The groups and the state of all routes, without hooks, as torch saves and loads them."""

    def __init__(self, groups: list[Group], state: Any) -> None:
        self.param_groups, self.state, self.defaults = groups, state, {}
        super().__setstate__({})


def _routes_of(groups: list[Group]) -> str:
    return ", ".join(sorted({str(group.get("route")) for group in groups}))


def parts_of(optimizer: Optimizer) -> dict[str, Optimizer]:
    """Return the optimizers behind one, by the name of the route; one without routes is "".

    >>> sgd = SGD([torch.zeros(1)], lr=0.1)
    >>> parts_of(sgd) == {"": sgd}
    True
    """
    return {**optimizer.optimizers} if isinstance(optimizer, RoutedOptimizer) else {"": optimizer}


def _of(route: str, groups: list[Group]) -> list[Group]:
    return [group for group in groups if group.get("route") == route]
