"""What to do when a run fails: which keys of the config act."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.cli.command import CHAIN
from experiments.cli.groups import options, stored
from experiments.run.judging import Diverged


def after_divergence(cfg: DictConfig, error: Diverged) -> str:
    """Say which keys lower the rates, and how to clip and keep the links that are there."""
    if error.step == 0:
        return "; no step was made yet: look at the model, its input and the metric"
    now = ", ".join(f"{rate:g}" for rate in error.rates)
    key = next((k for k in ("inner.lr", "lr") if _has(cfg.optim, k)), None)
    keys = [f"`optim.{key}` (= {now})"] if key else []
    if "lr_scale" in cfg.optim:
        keys.append("`optim.lr_scale`" if key else f"`optim.lr_scale` (rates now: {now})")
    return f"; lower {' or '.join(keys) or 'the learning rate'}{_clip(cfg)}"


def out_of_memory(cfg: DictConfig) -> str:
    """Say what takes less memory."""
    size = OmegaConf.select(cfg, "trainer.batch_size")
    if size:
        return f"out of memory: lower `trainer.batch_size` (= {size}), or choose a smaller `model`"
    sizes = [f"`task.{key}`" for key in ("starts", "dim") if key in cfg.task]
    return f"out of memory: lower {' or '.join(sizes) or 'the size of the task'}"


def _has(node: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(node, DictConfig) or node.get(part) is None:
            return False
        node = node.get(part)
    return True


def _clip(cfg: DictConfig) -> str:
    """Advise a clip before the links, where there is none and options alone make them."""
    links = OmegaConf.select(cfg, CHAIN.replace("/", "."))
    if not isinstance(links, DictConfig) or any("clip" in str(name) for name in links):
        return ""
    chain = [_option_of(str(name), links[name]) for name in links]
    if None in chain:
        return ""
    return f", or clip the gradient: `{CHAIN}=[{','.join(['clip_norm', *filter(None, chain)])}]`"


def _option_of(name: str, link: Any) -> str | None:
    """Return the option that makes a link as it is; None where the command has changed it."""
    alike = [option for option in options(CHAIN) if option.rpartition(".")[2] == name]
    return next(
        (option for option in sorted(alike, key=len) if stored(CHAIN, option) == link), None
    )
