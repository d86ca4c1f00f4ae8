"""Links run over buckets: like items of many parameters are one call of the transform."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from xformopt.optim.batching import batch_shape, dense_or_values
from xformopt.optim.bound import Bound, names_of
from xformopt.optim.changing import Changing
from xformopt.optim.linkstate import Precise, buffers_of, check_buffers
from xformopt.optim.plans import Columns, Layout, Plan, key_of, make_plan
from xformopt.optim.runner import Runner
from xformopt.optim.sharded import Shards, is_sharded
from xformopt.refused import Refused
from xformopt.transforms.link import INHERIT
from xformopt.transforms.settings import shown

PLAIN = {Tensor, Parameter}
"""The types of tensors that can be gathered."""

KEPT = 8
"""How many plans are kept for each link and setting, for sets of gradients that come again."""


class Given(NamedTuple):
    """What links are given beside their settings."""

    state: Mapping[Tensor, Any]
    raw: Mapping[Tensor, Tensor]
    """The gradients before the chain."""
    changing: Changing
    """The changes of the parameters, and what these were before."""
    strict: bool
    """Whether a parameter with fewer dimensions than an item is an error."""


class Cluster(NamedTuple):
    """Groups whose settings for a link are the same."""

    settings: dict[str, Any]
    param_ndim: int | None
    groups: list[Any]


class Buckets:
    """Runs links over parameter groups, by plans that are made once."""

    def __init__(self) -> None:
        """Start without plans."""
        self.plans: dict[Hashable, dict[Hashable, tuple[Layout, Plan]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle no plans: they are made anew."""
        return {"plans": {}}

    def run(self, bound: Bound, groups: list[Any], given: Given) -> None:
        """Apply a link to the parameters of groups, with the settings that they hold."""
        clusters = _clusters(bound, groups)
        if bound.transform.scope == "optimizer":
            _run_over_all(bound, clusters)
            return
        for cluster in clusters:
            params = list(_taking_part(bound, cluster))
            if not params:
                continue
            try:
                self._run(bound, cluster, params, given)
            except Exception as error:
                _say_where(error, bound, params, cluster.groups)
                raise
        plans = self.plans.get((bound.name, bound.transform), {})
        while len(plans) > KEPT * len(clusters):
            del plans[next(iter(plans))]

    def _run(self, bound: Bound, cluster: Cluster, params: list[Tensor], given: Given) -> None:
        transform, settings, param_ndim = bound.transform, cluster.settings, cluster.param_ndim
        columns = _columns(bound, params, param_ndim, given)
        draws = transform.draws(settings)
        by_item = any(isinstance(settings[key], Tensor) for key in transform.settings)
        shards = None
        if not PLAIN.issuperset(map(type, params)) and any(map(is_sharded, params)):
            shards = Shards(transform, columns, param_ndim, given.strict, draws)
            columns = shards.columns
        with Precise(transform, columns) as columns:
            if torch.compiler.is_compiling():
                runner = Runner(transform, settings, check=False)
                runner.plainly(columns, param_ndim, given.strict)
                return
            alone = draws or by_item or not PLAIN.issuperset(map(type, columns[0]))
            seen_as = (alone, param_ndim, given.strict)
            plan, is_new = self._plan(bound, seen_as, params, columns)
            if is_new:
                check_buffers(bound, columns, param_ndim, given.strict)
            Runner(transform, settings, check=is_new).run(plan, columns)
        if shards:
            shards.write_back()

    def _plan(
        self,
        bound: Bound,
        seen_as: tuple[bool, int | None, bool],
        params: list[Tensor],
        columns: Columns,
    ) -> tuple[Plan, bool]:
        """Return the plan for these tensors, and whether it was made now; the last used is last."""
        plans = self.plans.setdefault((bound.name, bound.transform), {})
        key = (*seen_as, *key_of(bound.transform, params, columns))
        held = plans.pop(key, None)
        is_new = held is None or not held[0].fits(params, columns)
        if held is None or is_new:
            alone, param_ndim, strict = seen_as
            shapes = [batch_shape(x.shape, param_ndim, strict) for x in columns[0]]
            plan = make_plan(bound.transform, columns, shapes, alone)
            held = (Layout(bound.transform, params, columns), plan)
        plans[key] = held
        return held[1], is_new


def _run_over_all(bound: Bound, clusters: list[Cluster]) -> None:
    """Apply a link of scope 'optimizer' to all gradients at once."""
    if len(clusters) > 1:
        first, second = clusters[:2]
        key = next(k for k, v in first.settings.items() if second.settings[k] != v)
        raise Refused(
            f"`{bound.name}.{key}` cannot differ by group, since `{bound.transform.name}` acts on "
            f"all gradients at once: it is {first.settings[key]!r} in one group and "
            f"{second.settings[key]!r} in another"
        )
    params = [p for cluster in clusters for group in cluster.groups for p in group["params"]]
    grads = [dense_or_values(p) for p in params if p.grad is not None and p.numel()]
    if grads:
        Runner(bound.transform, clusters[0].settings, check=False).call([grads])


def _clusters(bound: Bound, groups: list[Any]) -> list[Cluster]:
    """Return the groups by their settings; one by one where numbers are drawn or traced."""
    traced, over_all = torch.compiler.is_compiling(), bound.transform.scope == "optimizer"
    if traced and over_all:
        return [Cluster(*bound.settings(groups[0]), groups)]
    found: dict[Hashable, Cluster] = {}
    for i, group in enumerate(groups):
        values = bound.held_in(group)
        param_ndim = None if over_all else group["param_ndim"]
        held: Hashable = i if traced else (param_ndim, *values, *map(type, values))
        if not (traced or _is_hashable(held)):
            bound.settings(group)  # says which value is wrong
        if held in found:
            found[held].groups.append(group)
            continue
        cluster = Cluster(*bound.settings(group), [group])
        draws = not traced and bound.transform.draws(cluster.settings)
        found[i if draws else held] = cluster
    return list(found.values())


def _is_hashable(values: Any) -> bool:
    try:
        hash(values)
    except TypeError:
        return False
    return True


def _taking_part(bound: Bound, cluster: Cluster) -> Iterator[Tensor]:
    """Give the parameters that a link acts on; it is done with those of sparse gradient."""
    transform = bound.transform
    needs_grad = transform.is_of_steps or transform.reads_grad
    for group in cluster.groups:
        for p in group["params"]:
            if not p.numel() or (needs_grad and p.grad is None):
                continue
            if transform.reads_grad and p.grad.is_sparse:
                _run_sparse(bound, cluster.settings, p)
            else:
                yield p


def _columns(bound: Bound, params: list[Tensor], param_ndim: int | None, given: Given) -> Columns:
    tensors = {
        "param": lambda: given.changing.params(params),
        "update": lambda: given.changing.updates(params),
        "grad": lambda: [p.grad for p in params],
        "raw_grad": lambda: [given.raw[p] for p in params],
    }
    columns: list[Any] = [tensors[tensor]() for tensor in bound.transform.tensors]
    if bound.transform.state:
        buffers = [buffers_of(bound, p, given.state, param_ndim, given.strict) for p in params]
        columns.extend([list(column) for column in zip(*buffers, strict=True)])
    return columns


def _run_sparse(bound: Bound, settings: dict[str, Any], param: Tensor) -> None:
    transform = bound.transform
    if not transform.elementwise or transform.tensors != ("grad",) or transform.state:
        raise Refused(
            f"transform `{transform.name}` cannot act on the sparse gradient of a parameter of "
            f"shape {tuple(param.shape)}: only stateless elementwise ones such as `sign` can; put "
            "the parameter under another optimizer, or make its gradient dense"
        )
    Runner(transform, settings, check=True).call([dense_or_values(param).view(-1, 1)])


def _say_where(error: Exception, bound: Bound, params: list[Tensor], groups: list[Any]) -> None:
    """Note the transform, and the parameters; those of NaN or infinite entries, if there are."""
    traced = torch.compiler.is_compiling()
    wrong = [p for p in params if not traced and any(map(_is_not_finite, (p, p.grad)))]
    held = {setting: groups[0][key] for setting, key in bound.keys.items()}
    settings = ", ".join(f"{k}={shown(v)}" for k, v in held.items() if v is not INHERIT)
    error.add_note(
        f"in the transform `{bound.name}`, which is {bound.transform.name}({settings}), "
        f"for {names_of(wrong or params, groups)}"
    )


def _is_not_finite(x: Tensor | None) -> bool:
    if x is None or x.layout != torch.strided or x.device.type == "meta":
        return False
    return not bool(x.isfinite().all())
