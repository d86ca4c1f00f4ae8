"""Which keys of the config act on an optimizer: what to do when a run diverges, what to say."""

from typing import Any

from omegaconf import DictConfig
from torch.optim import Optimizer

from experiments.tasks import Task
from xformopt import transforms
from xformopt.optim import ParamTransformingOptimizer
from xformopt.remarks import remarks
from xformopt.transforms import Link

said: set[str] = set()
"""What was said already, in this run or an earlier job of the sweep."""


def say(cfg: DictConfig, task: Task, optimizer: Optimizer) -> None:
    """Print what should be known of the optimizer, each line once in a sweep."""
    found = [line.replace("`param_", "`optim.param_") for line in remarks(optimizer)]
    for line in [*_purpose(cfg, task), *found]:
        if line not in said:
            said.add(line)
            print(f"note: {line}", flush=True)


def after_divergence(cfg: DictConfig, optimizer: Optimizer) -> str:
    """Say which keys lower the rates, and how to clip without losing the chain."""
    rates = sorted({float(group["lr"]) for group in optimizer.param_groups if "lr" in group})
    now = ", ".join(f"{rate:g}" for rate in rates)
    key = next((k for k in ("inner.lr", "lr") if _has(cfg.optim, k)), None)
    keys = [f"`optim.{key}` (= {now})"] if key else []
    if "lr_scale" in cfg.optim:
        keys.append("`optim.lr_scale`" if key else f"`optim.lr_scale` (rates now: {now})")
    return f"lower {' or '.join(keys)}{_clip(optimizer)}"


def _has(node: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(node, DictConfig) or node.get(part) is None:
            return False
        node = node.get(part)
    return True


def _clip(optimizer: Optimizer) -> str:
    """Advise a clip before the links that are there, where there is none and a list can say so."""
    if not isinstance(optimizer, ParamTransformingOptimizer):
        return ""
    links = optimizer.transforms
    if any("clip" in name for name in links) or not all(map(_is_plain, links, links.values())):
        return ""
    return f", or clip the gradient: `optim/transforms=[{','.join(['clip_norm', *links])}]`"


def _is_plain(name: str, link: Link) -> bool:
    """Return whether a link is what its name alone gives in a list of transforms."""
    if name not in transforms.names():
        return False
    try:
        return repr(transforms.get(name)()) == repr(link)
    except TypeError:
        return False


def _purpose(cfg: DictConfig, task: Task) -> list[str]:
    purpose = cfg.optim.get("purpose", "training")
    if purpose == "training" or not getattr(task, "network", True):
        return []
    return [
        f"`optim` is a recipe for {purpose}, and here it trains a network; "
        "`python -m xformopt` lists those for training"
    ]
