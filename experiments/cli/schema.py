"""What the config of a job must satisfy, before anything is built: signatures are its schema."""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.cli.command import MAY_BE_NULL
from experiments.cli.groups import CONF, acting, options, way_out
from experiments.cli.importing import imported
from xformopt.refused import Refused
from xformopt.text import close_matches

PARTS = ("trainer", "task", "data", "model", "schedule", "eval", "optim")


def check_parts(cfg: DictConfig) -> None:
    """Refuse what is missing, and a part that is none."""
    if not isinstance(cfg.get("trainer"), DictConfig):
        raise Refused(f"`trainer` must be an option: {way_out('trainer')}")
    for key in sorted(OmegaConf.missing_keys(cfg)):
        raise Refused(f"`{key}` must be given: `{key}=…`")
    for key in PARTS:
        if cfg.get(key) is not None or key not in MAY_BE_NULL:
            _check_node(cfg, key)
    if cfg.get("model") is None:
        raise Refused("model", "a model", None, way_out("model"))
    _check_optim(cfg)
    if not isinstance(cfg.pictures, bool):
        raise Refused("pictures", "true or false", cfg.pictures)


def check_keys(cfg: DictConfig) -> None:
    """Refuse keys that nothing reads."""
    _check_keys("", cfg, top_level_keys())
    _check_arguments("optim", cfg.optim)
    for key in _nodes(cfg):
        if not key.startswith("optim"):
            _check_arguments(key, OmegaConf.select(cfg, key))


@cache
def top_level_keys() -> tuple[str, ...]:
    """Return the keys of `conf/config.yaml`, and the groups that it names."""
    held: Any = OmegaConf.load(CONF / "config.yaml")
    chosen = [group for entry in held.defaults if isinstance(entry, DictConfig) for group in entry]
    named = [str(group) for group in chosen if not str(group).startswith("override")]
    named = [group for group in named if "/" not in group]  # of those below, the first is the key
    return tuple({*named, *map(str, held)} - {"defaults", "hydra", "experiment"})


def _check_optim(cfg: DictConfig) -> None:
    optim = cfg.optim
    inner = optim.get("inner")
    if isinstance(inner, DictConfig) and "_target_" not in inner and optim.get("routes"):
        for key in map(str, inner):
            full_key = f"optim.inner.{key}"
            raise Refused(f"`{full_key}`: nothing reads this key; {acting(cfg, full_key)}")
    if "inner" in optim:
        _check_node(cfg, "optim.inner")
    if not isinstance(optim.get("transforms"), DictConfig | None):
        raise Refused(
            "`optim.transforms` must be a mapping name → link, as `'optim/transforms=[top_q,sign]'`"
            f" makes it, got {optim.transforms}"
        )


def _nodes(node: Any, prefix: str = "") -> Iterator[str]:
    """Give the paths of all nodes that build something."""
    for key in map(str, node if isinstance(node, DictConfig) else ()):
        if isinstance(node[key], DictConfig):
            if "_target_" in node[key]:
                yield f"{prefix}{key}"
            yield from _nodes(node[key], f"{prefix}{key}.")


def _check_node(cfg: DictConfig, key: str) -> None:
    node = OmegaConf.select(cfg, key)
    group = key.replace(".", "/")
    if not isinstance(node, DictConfig) or not isinstance(node.get("_target_"), str):
        named = isinstance(node, str) and node in options(group)
        hint = f"did you mean `{group}={node}`?" if named else way_out(group)
        raise Refused(f"`{key}` must be an option of the group `{group}`, got {node}; {hint}")


def _check_arguments(key: str, node: DictConfig) -> None:
    known = arguments_of(key, node)
    if known is not None:
        _check_keys(f"{key}.", node, [*known, *node.get("_zen_exclude", ())])


def arguments_of(key: str, node: DictConfig) -> Sequence[str] | None:
    """Return the names of what a node's target takes; None where it takes any."""
    imported(key, node["_target_"])
    target = imported(key, node.get("_zen_target") or node["_target_"])
    try:
        arguments = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(a.kind is a.VAR_KEYWORD for a in arguments):
        return None
    return [a.name for a in arguments]


def _check_keys(prefix: str, node: DictConfig, known: Iterable[str]) -> None:
    for key in map(str, node):
        if key not in known and not key.startswith("_"):
            hint = close_matches(key, [k for k in known if k != "params"])
            raise Refused(f"`{prefix}{key}`: nothing reads this key; {hint}")
