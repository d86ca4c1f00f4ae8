"""Registry → hydra-zen store: the groups `optim`, `optim/inner` and `optim/transforms`."""

from collections.abc import Callable
from typing import Any

from hydra_zen import ZenStore, builds
from torch.optim import Optimizer

from xformopt import transforms
from xformopt.optim.core import ParamTransformingOptimizer
from xformopt.optim.inner import ParamGroups, inner_optimizers
from xformopt.transforms.link import Link


def make_optimizer(
    params: ParamGroups,
    *,
    inner: Callable[..., Optimizer],
    transforms: dict[str, Link] | None = None,
    param_ndim: int | None = -1,
    grad_scale: float = 1.0,
    grad_bias: float = 0.0,
    strict_ndim: bool = False,
) -> ParamTransformingOptimizer:
    """Build a `ParamTransformingOptimizer` from what a config of the group `optim` holds.

    Biases and scalars are whole items here unless `strict_ndim=True`, so that one `param_ndim`
    serves a whole model.

    >>> import torch
    >>> from xformopt.transforms import sign
    >>> layer = torch.nn.Linear(2, 3)
    >>> optim = make_optimizer(
    ...     layer.parameters(), inner=torch.optim.SGD, transforms={"sign": sign()}, param_ndim=2)
    >>> list(optim.transforms)
    ['sign']
    """
    return ParamTransformingOptimizer(
        params,
        inner,
        param_ndim=param_ndim,
        grad_scale=grad_scale,
        grad_bias=grad_bias,
        transforms=transforms,
        strict_ndim=strict_ndim,
    )


def make_store() -> ZenStore:
    """Return a store of all that is registered now: optimizers, inner optimizers, transforms.

    A transform that was defined inside a function is left out: no config can name it.
    """
    store = ZenStore("xformopt", overwrite_ok=True)
    store(
        _builds(
            make_optimizer,
            inner=None,
            zen_partial=True,
            hydra_defaults=["_self_", {"inner": "adam"}, {"transforms": []}],
        ),
        group="optim",
        name="default",
    )
    for name, cls in inner_optimizers().items():
        store(_builds(cls, zen_partial=True), group="optim/inner", name=name)
    for name in filter(_is_importable, transforms.names()):
        store(
            _builds(transforms.get(name)),
            group="optim/transforms",
            name=name,
            package=f"optim.transforms.{name}",
        )
    return store


def add_to_hydra_store() -> None:
    """Put our groups into Hydra's store; call it before `hydra.main` or `launch`.

    Then `optim: default` in a defaults list gives `cfg.optim`, and
    `instantiate(cfg.optim)(model.parameters())` the optimizer.
    """
    make_store().add_to_hydra_store(overwrite_ok=True)


def _is_importable(name: str) -> bool:
    return "<locals>" not in transforms.get(name).fn.__qualname__


def _builds(target: Callable[..., Any], **options: Any) -> Any:
    return builds(target, populate_full_signature=True, hydra_convert="all", **options)
