"""What an option left behind when the command named another target, and nothing reads."""

from collections.abc import Iterable

from hydra_zen import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from torch.optim import Optimizer

from experiments.cli.schema import PARTS, arguments_of
from xformopt.optim import RoutedOptimizer
from xformopt.optim.leftovers import without_leftovers
from xformopt.refused import Refused

INNER = "optim.inner"
MADE_ANEW = ("data", "model")
"""Parts of which another target shares no settings with the one before."""


def drop_leftovers(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """Take out what nobody set, and the target that the command names does not take.

    A model or data set that takes any keyword is given none that was another's.
    """
    keys = set(map(_key, overrides))
    for part in PARTS:
        if f"{part}._target_" in keys:
            known = arguments_of(part, cfg[part])
            takes_any = () if part in MADE_ANEW else None
            _drop(cfg[part], takes_any if known is None else known, part, keys)
    _drop_inner(cfg, keys)
    _drop_epochs(cfg, keys)


def of_empty_routes(optimizer: Optimizer, overrides: Iterable[str]) -> list[str]:
    """Return a line for each override of a route that takes no parameter of the model."""
    if not isinstance(optimizer, RoutedOptimizer):
        return []
    empty = [n for n in optimizer.routes if n not in {*optimizer.optimizers, *optimizer.frozen}]
    return [
        f"`{key}`: nothing depends on it, since the route `{name}` takes no parameter of this model"
        for key in map(_key, overrides)
        for name in empty
        if key.startswith(f"optim.routes.{name}.")
    ]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _drop(node: DictConfig, taken: Iterable[str] | None, part: str, keys: set[str]) -> None:
    below = [key.split(".") for key in keys if key.startswith(f"{part}.")]
    named = {key[1] for key in below}
    with open_dict(node):
        for key in [str(k) for k in node if not str(k).startswith("_")]:
            if taken is not None and key not in taken and key not in named:
                del node[key]


def _drop_inner(cfg: DictConfig, keys: set[str]) -> None:
    """Take out of the inner optimizer what its class does not take, and what is null by another's.

    A class that the command names has defaults of its own for what nobody set.
    """
    inner = OmegaConf.select(cfg, INNER)
    if inner is None:
        return
    kept = getattr(without_leftovers(instantiate(inner)), "keywords", dict(inner))
    if f"{INNER}._target_" in keys:
        kept = {k: v for k, v in kept.items() if v is not None or f"{INNER}.{k}" in keys}
    with open_dict(inner):
        for key in [k for k in inner if not str(k).startswith("_") and k not in kept]:
            del inner[key]


def _drop_epochs(cfg: DictConfig, keys: set[str]) -> None:
    """Let one of `steps` and `epochs` stand: that which the command names, else `steps`."""
    trainer = cfg.trainer
    if trainer.get("steps") is None or trainer.get("epochs") is None:
        return
    if {"trainer.steps", "trainer.epochs"} <= keys:
        raise Refused(
            "trainer.epochs", "null beside `trainer.steps`", trainer.epochs, "set one of the two"
        )
    trainer["steps" if "trainer.epochs" in keys else "epochs"] = None
