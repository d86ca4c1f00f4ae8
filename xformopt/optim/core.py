"""The core: an optimizer that transforms parameters and gradients around an inner optimizer."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor
from torch.optim import SGD, Optimizer

from xformopt.optim.bound import Bound
from xformopt.optim.chain import Chain, scale_and_shift
from xformopt.optim.checks import check_group, check_link_keys, check_traced
from xformopt.optim.compiled import CompiledSteps
from xformopt.optim.hooks import HOOKS, NOT_RENAMED, Hook, acts_of
from xformopt.optim.inner import ParamGroups, as_number, build_inner, unpacked
from xformopt.optim.priming import is_priming
from xformopt.optim.saving import (
    by_name,
    generators_of,
    load,
    loaded,
    own_attributes,
    pack,
    saved,
    unpack,
)
from xformopt.optim.scheduled import SCHEDULES, STEP, Scheduled, split_schedules
from xformopt.optim.standard import StandardKeys
from xformopt.optim.stepping import evaluates_once, step_inside
from xformopt.refused import Refused, RefusedType
from xformopt.schedules import Schedule
from xformopt.transforms.link import Link, Transforms, as_chain

Group = dict[str, Any]


class _Mirrored:
    """An attribute that is the inner optimizer's, always."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else getattr(instance.inner_opt, self.name)

    def __set__(self, instance: Any, value: Any) -> None:
        setattr(instance.inner_opt, self.name, value)


class ParamTransformingOptimizer(Optimizer):
    """An optimizer that transforms each parameter and gradient in place around an inner step.

    A step is: the hook `_pre_step_transform_`, the links that run 'pre', `grad_scale` and
    `grad_bias`; then the step of the inner optimizer; then the links that rewrite the update, the
    change that this step made; then the hook `_post_step_transform_` and the links that run 'post',
    on the parameters with that update. `param_groups`, `defaults` and `state` are the inner
    optimizer's own. Where that one maximizes, links are given the gradient of what is minimized,
    its negative.

    Args:
        params: a module, parameters, `(name, parameter)` pairs or parameter groups; None for a
            built `InnerOpt`.
        InnerOpt: the optimizer that makes the update: a class, a partial of one, or a built one.
        param_ndim: the number of dimensions of an item, on which a transform acts: a tensor of
            shape `(d0, d1, d2, d3)` is seen as `(d0·d1·d2·d3, 1)` for 0, `(d0·d1·d2, d3)` for 1 or
            -3, `(d0·d1, d2, d3)` for 2 or -2, `(d0, d1, d2, d3)` for 3 or -1, and
            `(1, d0, d1, d2, d3)` for 4 or None. Per group.
        grad_scale: multiplies each gradient after the pre-step transforms. Per group.
        grad_bias: is added to each gradient after that. Per group.
        transforms: links, or a mapping name → link, that run beside the hooks, in order. A group
            overrides the setting `q` of the link `top_q` by its key `"top_q.q"`.
        strict_ndim: whether a parameter with fewer than `abs(param_ndim)` dimensions is an error,
            or one whole item.
        compile: whether steps run as one program of `torch.compile`, all but the first of each
            parameter, which makes its state. The second one takes time to compile. Steps with a
            closure are compiled around `FrankWolfe` and torch's own optimizers that call it once.
        lr_scale: multiplies the learning rate of every group, those added later too.
        standard_keys: whether `weight_decay`, `momentum`, `betas` around SGD are those of the links
            that have such a setting, in groups and for schedulers, as they are in recipes.
        defaults: default values for all parameter groups.
        **inner_opt_kwargs: settings of `InnerOpt`.

    Raises:
        TypeError: for what is no optimizer, no link or no number.
        ValueError: for a parameter with too few dimensions, or a setting outside its range.

    >>> from xformopt import transforms as T
    >>> x = torch.tensor([-10.0, 10.0], requires_grad=True)
    >>> optim = ParamTransformingOptimizer([x], torch.optim.AdamW, transforms=[T.sign()], lr=0.1)
    >>> (10_000 * x).sum().backward()
    >>> optim.step()
    >>> x
    tensor([-10.0900,   9.8900], requires_grad=True)

    Source: the behaviour is that of `rai_toolbox.optim`, Soklaski et al. 2022, arXiv:2201.05647.
    """

    param_groups: Any = _Mirrored()
    defaults: Any = _Mirrored()
    state: Any = _Mirrored()
    _hooks_of_class: ClassVar[dict[str, Any]]
    _compiled: CompiledSteps | None = None
    _keys_beside: frozenset[str] = frozenset()
    """Keys of its groups that are those of links over all routes, of which it is one."""
    _sizes: list[int] | None = None
    """How many keys each group had when they were checked."""

    def __init__(
        self,
        params: ParamGroups | None = None,
        InnerOpt: Callable[..., Optimizer] | Optimizer = SGD,
        *,
        param_ndim: int | None = -1,
        grad_scale: float | Schedule = 1.0,
        grad_bias: float | Schedule = 0.0,
        transforms: Transforms = None,
        strict_ndim: bool = True,
        compile: bool = False,
        lr_scale: float = 1.0,
        standard_keys: bool = False,
        defaults: dict[str, Any] | None = None,
        **inner_opt_kwargs: Any,
    ) -> None:
        """Build the inner optimizer and check every group."""
        if not isinstance(compile, bool):
            raise RefusedType("compile", "true or false", compile)
        if as_number("lr_scale", lr_scale) <= 0:
            raise Refused("lr_scale", "a number > 0", lr_scale)
        build, settings = unpacked(InnerOpt, inner_opt_kwargs)
        self.transforms: dict[str, Link] = as_chain(transforms)
        owned = self.transforms if standard_keys else {}
        self._standard = StandardKeys(owned, build if standard_keys else None, settings)
        self._chain = Chain(self.transforms, self._standard.renamed)
        self.strict_ndim, self.compile, self.lr_scale = strict_ndim, compile, lr_scale
        self._built_inner = not isinstance(InnerOpt, Optimizer)
        numbers, self._following = split_schedules(self._standard.settings)
        own: Group = {"param_ndim": param_ndim, "grad_scale": grad_scale, "grad_bias": grad_bias}
        given = self._standard.translated(defaults or {})
        shared = {**own, **self._chain.defaults(), **given}
        self.inner_opt = build_inner(
            build, params, numbers, lambda group: self._prepared(group, shared)
        )
        if isinstance(self.inner_opt, ParamTransformingOptimizer):
            raise RefusedType(
                f"`InnerOpt` must not be a transforming optimizer itself, got "
                f"{type(self.inner_opt).__name__}: both would act on the same settings; use "
                "`transforms=` or ChainedParamTransformingOptimizer"
            )
        self.inner_opt.defaults.update(shared)
        self._scheduled = Scheduled(self._chain.bounds.values(), type(self.inner_opt))
        super().__setstate__({})
        for group in self.param_groups:
            self._take(group)
        self._scheduled.note(self.param_groups)
        if lr_scale != 1.0 and "lr" in self.inner_opt.defaults:
            self.inner_opt.defaults["lr"] = self.inner_opt.defaults["lr"] * lr_scale

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note the hooks of a subclass, where a compiler finds them."""
        super().__init_subclass__(**kwargs)
        cls._hooks_of_class = {name: getattr(cls, name) for name in HOOKS.values()}

    def _pre_step_transform_(self, param: Tensor, optim_group: Group) -> None:
        """Transform `param.grad` (or `param`) in place before the inner step; a no-op to override.

        Args:
            param: the parameter, shape `(N, *d)` where `d` has `param_ndim` dimensions; its
                gradient has the same shape. Each of the N items is to be treated on its own.
            optim_group: the parameter group that it is in.
        """

    def _post_step_transform_(self, param: Tensor, optim_group: Group) -> None:
        """Transform `param` in place after the inner step; as `_pre_step_transform_`."""

    @torch.no_grad()
    def _apply_pre_step_transform_(self) -> None:
        """Run the pre-step hook and links on every gradient, then scale and shift it."""
        self._chain.state.show(self.state)
        self._standard.settle(self.param_groups)
        self._scheduled.follow(self.param_groups)
        self._chain.begin(self.param_groups, self.state, self.strict_ndim)
        self._chain.run("pre", self._acts("pre"), self)
        for group in self.param_groups:
            scale_and_shift(group)

    @torch.no_grad()
    def _apply_update_transform_(self) -> None:
        """Run the links that rewrite what the inner step has changed."""
        self._chain.update(self)

    @torch.no_grad()
    def _apply_post_step_transform_(self) -> None:
        """Run the post-step hook and links on every parameter."""
        self._chain.run("post", self._acts("post"), self)
        self._chain.finish()

    @torch.no_grad()
    def project(self) -> None:
        """Apply the post-step transforms now, without a step: make a start point feasible.

        Links that keep state, such as `param_ema`, count steps and are left out, and so are those
        that need a step: its update, the gradient of before the chain, or the learning rate.
        """
        self._chain.project(self._acts("post"), self)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Transform, make the inner step, transform; return what `closure` returned, if given.

        The pre-step transforms run after each call of the closure.
        """
        check_traced(self)
        self._check_new_keys()
        if closure is None:
            return self._whole_step()
        if evaluates_once(type(self.inner_opt)):
            with torch.enable_grad():
                loss = closure()
            self._whole_step()
            return loss
        if self.compile:
            self._compiled_steps().give_up("may call its closure more than once in a step")
        return self._step(closure)

    def _whole_step(self) -> Any:
        """Make a step without a closure: one that fills the state, a compiled one, or any other."""
        if not torch.compiler.is_compiling() and is_priming(self):
            self._chain.begin(self.param_groups, self.state, self.strict_ndim)
            return self._inner_step()
        return self._compiled_steps().step() if self.compile else self._step()

    def _compiled_steps(self) -> CompiledSteps:
        if self._compiled is None:
            self._compiled = CompiledSteps(self, self._step, self._scheduled)
        return self._compiled

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        changing = self._chain.changing
        if closure is None:
            self._apply_pre_step_transform_()
            changing.remember(self.param_groups, without_gradient=False)
            returned = self._inner_step()
        else:
            changing.remember(self.param_groups, without_gradient=True)
            returned = self._inner_step(self._transforming(closure))
        self._apply_update_transform_()
        self._apply_post_step_transform_()
        self._scheduled.count(self.param_groups)
        return returned

    def _inner_step(self, *closure: Callable[[], Any]) -> Any:
        """Make the inner step; what links stand for is not shown to the inner optimizer."""
        shown = [self._standard.shown(group) for group in self.param_groups]
        pairs = [*zip(self.param_groups, shown, strict=True)] if any(shown) else []
        held = [{key: group[key] for key in own} for group, own in pairs]
        self._chain.state.hide(self.param_groups, self.state)
        try:
            for group, own in pairs:
                group.update(own)
            return step_inside(self.inner_opt, *closure)
        finally:
            for (group, _), own in zip(pairs, held, strict=True):
                group.update(own)
            self._chain.state.show(self.state)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, with the defaults of inner and transforming optimizer, checked."""
        is_scaled = "lr" not in param_group and "lr" not in self._following
        self.inner_opt.add_param_group(self._prepared(param_group, {}))
        try:
            self._take(self.param_groups[-1], is_scaled)
            self._scheduled.note(self.param_groups)
        except (TypeError, ValueError):
            del self.param_groups[-1]
            raise

    def _prepared(self, given: Group, shared: Group) -> Group:
        """Return a group over what it shares, with numbers where it has schedules."""
        group = {**self._following, **shared, **self._standard.translated(given)}
        numbers, schedules = split_schedules(group)
        return {**numbers, SCHEDULES: schedules, STEP: 0} if schedules else numbers

    def _take(self, group: Group, is_scaled: bool = False) -> None:
        """Check a group that has been added, and scale its learning rate."""
        self._scheduled.take(group)
        self._scheduled.put(group)
        self._check_group(group)
        self._standard.take(group)
        if self.lr_scale != 1.0 and not is_scaled:
            if "lr" not in group:
                name = type(self.inner_opt).__name__
                says = f"`lr_scale` has no effect: {name} has no learning rate `lr`"
                raise Refused("lr_scale", value=self.lr_scale, says=says)
            self._scheduled.scale_lr(group, self.lr_scale)

    def _check_group(self, group: Group) -> None:
        """Check the settings of a group; subclasses check their own."""
        check_group(self, group)

    def _check_new_keys(self) -> None:
        """Refuse keys of no link that were put into a group meanwhile."""
        if torch.compiler.is_compiling() or not self._built_inner:
            return
        sizes = [*map(len, self.param_groups)]
        if sizes != self._sizes:
            for group in self.param_groups:
                check_link_keys(self, group)
            self._sizes = sizes

    def state_dict(self) -> dict[str, Any]:
        """Return the inner optimizer's state dict, the links' settings and state included."""
        return saved(self, self._saved)

    def _saved(self) -> dict[str, Any]:
        self._settle()
        state_dict = self.inner_opt.state_dict()
        pack(state_dict["param_groups"], self.transforms)
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave, for the same chain and parameters, by name where known."""
        loaded(self, state_dict, self._load)

    def _load(self, state_dict: dict[str, Any]) -> None:
        state_dict = by_name(self.param_groups, state_dict)
        groups = unpack(self.param_groups, state_dict["param_groups"], self.transforms)
        state_dict = {**state_dict, "param_groups": groups}
        load(self, state_dict, self._chain.state.keys, self.inner_opt.load_state_dict)
        self._go_on()

    def _go_on(self) -> None:
        """Go on from what was loaded: links keep their buffers' dtypes, groups their schedules."""
        self._chain.state.take(self.param_groups, self.state)
        self._scheduled.go_on(self.param_groups)

    def _settle(self) -> None:
        """Take numbers that were assigned as they are meant."""
        self._standard.settle(self.param_groups)
        self._scheduled.leave_to_others(self.param_groups)

    def train(self) -> None:
        """Put an inner optimizer that has modes, such as a schedule-free one, into training."""
        getattr(self.inner_opt, "train", lambda: None)()

    def eval(self) -> None:
        """Put an inner optimizer that has modes into evaluation."""
        getattr(self.inner_opt, "eval", lambda: None)()

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy need: the inner optimizer and what subclasses set."""
        self._settle()
        return {**own_attributes(self), "_inner_attributes": own_attributes(self.inner_opt)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` gave."""
        state = dict(state)
        inner_attributes = state.pop("_inner_attributes", {})
        inner = state.pop("inner_opt", None) or self.inner_opt
        inner.__dict__.update(inner_attributes)
        self.__dict__["inner_opt"] = inner
        for name in ("state", "param_groups", "defaults"):
            if name in state:
                setattr(self, name, state.pop(name))
        super().__setstate__(state)
        self._scheduled.note(self.param_groups)

    def __repr__(self) -> str:
        """Show the inner optimizer, the chain and every group."""
        chain = "".join(f"\n{name}: {link!r}" for name, link in self.transforms.items())
        head = f"[{type(self.inner_opt).__name__}]({chain}"
        return super().__repr__().replace("(", head, 1)

    def _acts(self, when: str, keys: Mapping[str, str] = NOT_RENAMED) -> list[Hook | Bound]:
        """Return what stands for the hook: a method, or a link of a class of ours, or nothing."""
        return acts_of(self, when, keys)

    def generators(self) -> list[Generator]:
        """Return the generators that links draw from, beside torch's own."""
        return generators_of(self.param_groups)

    def _transforming(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def transformed() -> Any:
            with torch.enable_grad():
                loss = closure()
            self._apply_pre_step_transform_()
            self._chain.state.hide(self.param_groups, self.state)
            return loss

        return transformed


ParamTransformingOptimizer._pre_step_transform_.is_no_op = True  # type: ignore[attr-defined]
ParamTransformingOptimizer._post_step_transform_.is_no_op = True  # type: ignore[attr-defined]
ParamTransformingOptimizer.__init_subclass__()
