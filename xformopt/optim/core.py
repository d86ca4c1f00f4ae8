"""The core: an optimizer that transforms parameters and gradients around an inner optimizer."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.optimizer import required

from xformopt.optim.batching import batch_shape, dense_or_values, hook_view
from xformopt.optim.buckets import Buckets, link_buffers, run_optimizer_link
from xformopt.optim.compiled import Program
from xformopt.optim.inner import ParamGroups, build_inner, evaluates_once
from xformopt.optim.linkstate import LinkState
from xformopt.optim.saving import check_same_chain, own_attributes, with_missing_keys
from xformopt.optim.scheduled import Scheduled
from xformopt.schedules import Schedule, as_schedule
from xformopt.transforms.items import is_at_hand, rounds_scalars
from xformopt.transforms.link import INHERIT, Link, Transforms, as_chain

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
    `grad_bias`; then the step of the inner optimizer; then the hook `_post_step_transform_` and
    the links that run 'post'. `param_groups`, `defaults` and `state` are the inner optimizer's own.

    Args:
        params: parameters, `(name, parameter)` pairs or parameter groups; None for a built
            `InnerOpt`.
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
            closure are compiled around torch's own optimizers that call it once.
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
    _program: Program | None = None
    _stepped: frozenset[int] = frozenset()

    def __init__(
        self,
        params: ParamGroups | None = None,
        InnerOpt: Callable[..., Optimizer] | Optimizer = SGD,
        *,
        param_ndim: int | None = -1,
        grad_scale: float = 1.0,
        grad_bias: float = 0.0,
        transforms: Transforms = None,
        strict_ndim: bool = True,
        compile: bool = False,
        defaults: dict[str, Any] | None = None,
        **inner_opt_kwargs: Any,
    ) -> None:
        """Build the inner optimizer and check every group."""
        shared = {"param_ndim": param_ndim, "grad_scale": grad_scale, "grad_bias": grad_bias}
        self.transforms: dict[str, Link] = as_chain(transforms)
        for name, link in self.transforms.items():
            shared.update({f"{name}.{key}": value for key, value in link.settings.items()})
        if not isinstance(compile, bool):
            raise TypeError(f"`compile` must be true or false, got {compile!r}")
        self.strict_ndim, self.compile = strict_ndim, compile
        self._built_inner = not isinstance(InnerOpt, Optimizer)
        self.link_state = LinkState(self.transforms)
        self._buckets = Buckets()
        self._raw: dict[Tensor, Tensor] = {}
        self._scheduled = Scheduled(self.transforms)
        self.inner_opt = build_inner(
            InnerOpt, params, {**shared, **(defaults or {})}, inner_opt_kwargs
        )
        if isinstance(self.inner_opt, ParamTransformingOptimizer):
            raise TypeError(
                f"`InnerOpt` must not be a transforming optimizer itself, got "
                f"{type(self.inner_opt).__name__}: both would act on the same settings; use "
                "`transforms=` or ChainedParamTransformingOptimizer"
            )
        super().__setstate__({})
        for group in self.param_groups:
            self._check_group(group)
            self._scheduled.take(group)

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
        self.link_state.show(self.state)
        self._scheduled.follow(self.param_groups)
        self._begin_links()
        self._run_hook("_pre_step_transform_")
        self._run_links("pre")
        self._raw.clear()
        for group in self.param_groups:
            scale, bias = group["grad_scale"], group["grad_bias"]
            if scale == 1.0 and bias == 0.0:
                continue
            grads = [dense_or_values(p) for p in group["params"] if p.grad is not None]
            if scale != 1.0 and any(map(rounds_scalars, grads)):
                for grad in grads:
                    grad.mul_(scale)
            elif scale != 1.0 and grads:
                torch.ops.aten._foreach_mul_(grads, scale)
            if bias != 0.0 and grads:
                torch.ops.aten._foreach_add_(grads, bias)

    @torch.no_grad()
    def _apply_post_step_transform_(self) -> None:
        """Run the post-step hook and links on every parameter."""
        self._run_hook("_post_step_transform_")
        self._run_links("post")

    @torch.no_grad()
    def project(self) -> None:
        """Apply the post-step transforms now, without a step: make a start point feasible.

        Links that keep state, such as `param_ema`, count steps and are left out.
        """
        self._run_hook("_post_step_transform_")
        self._run_links("post", stateful=False)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Transform, make the inner step, transform; return what `closure` returned, if given.

        The pre-step transforms run after each call of the closure. With lr 0 and gradients of zero,
        as `torch.distributed.checkpoint` makes them to have the state filled, none of them runs.
        """
        self._check_compilable()
        if self.compile and closure is not None and evaluates_once(self.inner_opt):
            with torch.enable_grad():
                loss = closure()
            self._step_or_program(None)
            return loss
        return self._step_or_program(closure)

    def _step_or_program(self, closure: Callable[[], Any] | None) -> Any:
        primes = closure is None and self._only_primes()
        if self.compile and closure is None and not primes:
            params = [p for group in self.param_groups for p in group["params"]]
            present = {id(p) for p in params if p.grad is not None}
            if present <= self._stepped:
                return self._run_program()
            self._stepped = self._stepped | present
        return self._step(closure, primes)

    def _run_program(self) -> None:
        """Make a step by the compiled program; schedules are followed outside of it."""
        if self._program is None:
            self._program = Program(self, partial(self._step, None, False))
        self._scheduled.follow(self.param_groups)
        self._scheduled.paused = True
        try:
            self._program(self._scheduled.places())
        finally:
            self._scheduled.paused = False
        self._scheduled.count(self.param_groups)

    def _step(self, closure: Callable[[], Any] | None, primes: bool) -> Any:
        try:
            if primes:
                self._begin_links()
            elif closure is None:
                self._apply_pre_step_transform_()
            if closure is None:
                self.link_state.hide(self.state)
                loss = self._inner_step()
            else:
                loss = self.inner_opt.step(self._transforming(closure))
        finally:
            self.link_state.show(self.state)
        if primes:
            return loss
        self._apply_post_step_transform_()
        self._scheduled.count(self.param_groups)
        return loss

    def _check_compilable(self) -> None:
        """Refuse to trace the first step, in which a compiler would lose buffers it makes."""
        if not (torch.compiler.is_compiling() and self.link_state.keys):
            return
        held = [self.state.get(p, {}) for group in self.param_groups for p in group["params"]]
        if not any(key in entry for entry in held for key in self.link_state.keys):
            raise RuntimeError(
                "links that keep state need one step before `torch.compile`, which makes their "
                "buffers: call `optimizer.step()` once, then compile it"
            )

    def _inner_step(self) -> Any:
        """Make the inner step; under a compiler, past the wrapper in which torch breaks graphs."""
        if not torch.compiler.is_compiling():
            return self.inner_opt.step()
        step: Any = type(self.inner_opt).step
        while hasattr(step, "__wrapped__"):
            step = step.__wrapped__
        with torch.no_grad():
            return step(self.inner_opt)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, with the defaults of inner and transforming optimizer, checked."""
        self.inner_opt.add_param_group(param_group)
        try:
            self._check_group(self.param_groups[-1])
            self._scheduled.take(self.param_groups[-1])
        except (TypeError, ValueError):
            del self.param_groups[-1]
            raise

    def state_dict(self) -> dict[str, Any]:
        """Return the inner optimizer's state dict, the links' settings and state included."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        state_dict = self.inner_opt.state_dict()
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave, for the same parameters and the same chain."""
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        check_same_chain(self.param_groups, state_dict["param_groups"])
        self.inner_opt.load_state_dict(with_missing_keys(self.param_groups, state_dict))
        self.link_state.settle(self.state)
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def train(self) -> None:
        """Put an inner optimizer that has modes, such as a schedule-free one, into training."""
        getattr(self.inner_opt, "train", lambda: None)()

    def eval(self) -> None:
        """Put an inner optimizer that has modes into evaluation."""
        getattr(self.inner_opt, "eval", lambda: None)()

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy need: the inner optimizer and what subclasses set."""
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

    def __repr__(self) -> str:
        """Show the inner optimizer, the chain and every group."""
        chain = "".join(f"\n{name}: {link!r}" for name, link in self.transforms.items())
        head = f"[{type(self.inner_opt).__name__}]({chain}"
        return super().__repr__().replace("(", head, 1)

    def _check_group(self, group: Group) -> None:
        for key in ("grad_scale", "grad_bias"):
            if not isinstance(group[key], (int, float)) or isinstance(group[key], bool):
                raise TypeError(f"`{key}` must be a number, got {group[key]!r}")
            if not math.isfinite(group[key]):
                raise ValueError(f"`{key}` must be a finite number, got {group[key]!r}")
        for key, value in group.items():
            if value is required:
                raise TypeError(f"`{key}` must be given: {type(self).__name__}(…, {key}=…)")
            if "." in key:
                group[key] = as_schedule(value)
        for p in group["params"]:
            batch_shape(p.shape, group["param_ndim"], self.strict_ndim)
        for name, link in self.transforms.items():
            link.transform.check({k: group[f"{name}.{k}"] for k in link.settings})
            if link.transform.scope == "optimizer":
                _check_same_settings(name, link, group)
            elif group[f"{name}.param_ndim"] != INHERIT:
                for p in group["params"]:
                    batch_shape(p.shape, group[f"{name}.param_ndim"], self.strict_ndim)
        if self._built_inner:
            _check_link_keys(group, self.transforms)

    def _only_primes(self) -> bool:
        """Return whether a step is only to fill the state: lr and all gradients are 0."""
        rates = [group.get("lr") for group in self.param_groups]
        unknown = any(lr is None or (isinstance(lr, Tensor) and not is_at_hand(lr)) for lr in rates)
        if torch.compiler.is_compiling() or unknown or any(rates):
            return False
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        return all(grad is None or not grad.any() for grad in grads)

    def _run_hook(self, name: str) -> None:
        inherited = getattr(type(self), name) is getattr(ParamTransformingOptimizer, name)
        if inherited and name not in self.__dict__:
            return
        hook = getattr(self, name)
        label = f"{type(self).__name__}.{name}"
        before = name == "_pre_step_transform_"
        for group in self.param_groups:
            for p in group["params"]:
                if p.numel() == 0 or (before and p.grad is None):
                    continue
                if before and p.grad.is_sparse:
                    raise ValueError(
                        f"`{label}` cannot act on the sparse gradient of a parameter of shape "
                        f"{tuple(p.shape)}; use an elementwise link: `transforms=[sign()]`"
                    )
                with hook_view(p, group, self.strict_ndim, label) as view:
                    hook(view, optim_group=group)

    def _begin_links(self) -> None:
        """Make the links' buffers, and keep the gradients that are read as `raw_grad`."""
        links = self.transforms.values()
        keeps_raw = any("raw_grad" in link.transform.tensors for link in links)
        for group in self.param_groups:
            for p in group["params"] if self.link_state.keys or keeps_raw else ():
                if p.grad is None:
                    continue
                for name, link in self.transforms.items():
                    link_buffers(name, link, p, self.state)
                if keeps_raw:
                    self._raw[p] = p.grad.clone()

    def _run_links(self, when: str, stateful: bool = True) -> None:
        for name, link in self.transforms.items():
            if link.when != when or (link.transform.state and not stateful):
                continue
            if link.transform.scope == "optimizer":
                run_optimizer_link(name, link, self.param_groups)
                continue
            for group in self.param_groups:
                self._buckets.run(name, link, group, self.state, self._raw, self.strict_ndim)

    def _transforming(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def transformed() -> Any:
            with torch.enable_grad():
                loss = closure()
            self._apply_pre_step_transform_()
            self.link_state.hide(self.state)
            return loss

        return transformed


def _check_same_settings(name: str, link: Link, group: Group) -> None:
    """A link over all gradients has one setting for all groups."""
    for key, value in link.settings.items():
        held = group[f"{name}.{key}"]
        if held != value and not isinstance(value, Schedule):
            raise ValueError(
                f"`{name}.{key}` cannot differ by group, since `{link.transform.name}` acts on all "
                f"gradients at once: it is {value!r}, and {held!r} in a group"
            )


def _check_link_keys(group: Group, chain: dict[str, Link]) -> None:
    known = [f"{name}.{key}" for name, link in chain.items() for key in link.settings]
    unknown = [key for key in group if "." in key and key not in known]
    if unknown:
        raise ValueError(f"parameter group has keys {unknown} of no link; there are {known}")
