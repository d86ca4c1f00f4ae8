"""What the config of a job must satisfy, before anything is built."""

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.utils import get_object
from hydra_zen import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from xformopt import recipes
from xformopt.optim.leftovers import without_leftovers
from xformopt.text import close_matches

CONF = Path(__file__).parent.parent / "conf"
KEYS = ("seed", "device", "threads", "pictures", "trainer", "task", "optim")
COUNTS = ("epochs", "steps", "eval_every")


def check_config(cfg: DictConfig) -> None:
    """Refuse what is missing, misplaced, or read by nothing."""
    if not isinstance(cfg.get("trainer"), DictConfig):
        raise ValueError(f"`trainer` must be an option: {way_out('trainer')}")
    for key in sorted(OmegaConf.missing_keys(cfg)):
        raise ValueError(f"`{key}` has no value (???); set it: `{key}=…`")
    _check_keys("", cfg, KEYS)
    _check_keys("trainer.", cfg.trainer, (*COUNTS, "batch_size"))
    for key in COUNTS:
        check_count(f"trainer.{key}", cfg.trainer.get(key), optional=True)
    _check_node(cfg, "task")
    _check_node(cfg, "optim")
    if "inner" in cfg.optim:
        _check_node(cfg, "optim.inner")
    if not isinstance(OmegaConf.select(cfg, "optim.transforms"), DictConfig | None):
        raise ValueError(
            "`optim.transforms` must be a mapping name → link, as `'optim/transforms=[top_q,sign]'`"
            f" makes it, got {cfg.optim.transforms}"
        )
    check_count("threads", cfg.threads, optional=True)
    if not isinstance(cfg.pictures, bool):
        raise ValueError(f"`pictures` must be true or false, got {cfg.pictures!r}")
    if not _is_int(cfg.seed) or not 0 <= cfg.seed < 2**63:
        raise ValueError(f"`seed` must be an int in [0, 2**63), got {cfg.seed!r}")


def check_count(name: str, value: Any, *, optional: bool = False) -> None:
    """Raise a `ValueError` unless `value` is an int >= 1, or None where that is allowed."""
    if not (optional and value is None) and not (_is_int(value) and value >= 1):
        rule = "an int >= 1 or null" if optional else "an int >= 1"
        raise ValueError(f"`{name}` must be {rule}, got {value!r}")


def drop_leftovers(cfg: DictConfig) -> None:
    """Take out of `optim.inner` what a former optimizer's config left there and nothing reads."""
    inner = OmegaConf.select(cfg, "optim.inner")
    if inner is None:
        return
    kept = getattr(without_leftovers(instantiate(inner)), "keywords", dict(inner))
    with open_dict(inner):
        for key in [k for k in inner if not str(k).startswith("_") and k not in kept]:
            del inner[key]


def drop_what_routes_replace(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """Take out the `lr` that a task sets for whichever inner optimizer stands beside no routes.

    Where the command names it, it is refused: nothing would read it.
    """
    optim = cfg.get("optim")
    if not isinstance(optim, DictConfig) or not optim.get("routes") or "inner" not in optim:
        return
    inner = optim.inner
    if not isinstance(inner, DictConfig) or "_target_" in inner:
        return
    for key in (o.lstrip("+~").partition("=")[0] for o in overrides):
        if key.startswith("optim.inner"):
            raise ValueError(f"`{key}`: nothing reads this key; {acting(cfg, key)}")
    if set(inner) == {"lr"}:
        with open_dict(optim):
            del optim["inner"]


def acting(cfg: Any, key: str) -> str:
    """Return which keys of the config end like `key`, as `set …`; "" where none does.

    A rate has one more that acts on all of them: `optim.lr_scale`.
    """
    leaf = key.rpartition(".")[2]
    found = [path for path in _paths(cfg) if path.rpartition(".")[2] == leaf and path != key]
    found = [path for path in found if path.startswith("optim.")] or found
    found.sort(key=lambda path: path.count("."))
    if not found:
        return ""
    shown = ", ".join(f"`{path}`" for path in found[:3]) + (", …" if found[3:] else "")
    scales = leaf == "lr" and OmegaConf.select(cfg, "optim.lr_scale") is not None
    return f"set {shown}" + (", or `optim.lr_scale` for all rates" if scales else "")


def _paths(node: Any, prefix: str = "") -> Iterator[str]:
    for key in map(str, node if isinstance(node, DictConfig) else ()):
        yield f"{prefix}{key}"
        if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
            yield from _paths(node[key], f"{prefix}{key}.")


def groups() -> list[str]:
    """Return the groups of configs that are ours: of Hydra's store, and of `conf/`."""
    found = [path.name for path in sorted(CONF.iterdir()) if path.is_dir()]

    def visit(node: dict[str, Any], path: str) -> None:
        for name, child in node.items():
            if isinstance(child, dict):
                found.append(f"{path}{name}")
                visit(child, f"{path}{name}/")

    repo = ConfigStore.instance().repo
    visit({k: v for k, v in repo.items() if not k.startswith(("hydra", "_"))}, "")
    return found


def options(group: str) -> list[str]:
    """Return the options of a group."""
    node: Any = ConfigStore.instance().repo
    for name in group.split("/"):
        node = node.get(name, {})
    stored = [name for name, child in node.items() if not isinstance(child, dict)]
    files = [path.name for path in (CONF / group).glob("*.yaml")]
    return sorted(name.removesuffix(".yaml") for name in [*stored, *files])


def routes_of(recipe: Any) -> list[str]:
    """Return the routes of an option of `optim`."""
    return list(recipes.get(recipe).routes) if recipe in recipes.names() else []


def way_out(group: str) -> str:
    """Return what can be chosen in a group."""
    known = options(group)
    return f"there are: {', '.join(f'`{group}={name}`' for name in known[:6])}" + (
        ", …" if len(known) > 6 else ""
    )


def _check_node(cfg: DictConfig, key: str) -> None:
    node = OmegaConf.select(cfg, key)
    group = key.replace(".", "/")
    if not isinstance(node, DictConfig) or not isinstance(node.get("_target_"), str):
        named = isinstance(node, str) and node in options(group)
        hint = f"did you mean `{group}={node}`?" if named else way_out(group)
        raise ValueError(f"`{key}` must be an option of the group `{group}`, got {node}; {hint}")
    if key != "optim.inner":
        target = node.get("_zen_target") or node["_target_"]
        _imported(key, node["_target_"])
        arguments = inspect.signature(_imported(key, target)).parameters.values()
        if not any(a.kind is a.VAR_KEYWORD for a in arguments):
            meta = list(node.get("_zen_exclude", ()))
            _check_keys(f"{key}.", node, [*(a.name for a in arguments), *meta])


def _imported(key: str, target: str) -> Any:
    try:
        return get_object(target)
    except (ImportError, ValueError) as error:
        raise ValueError(f"`{key}._target_`: `{target}` cannot be imported: {error}") from error


def _check_keys(prefix: str, node: DictConfig, known: Iterable[str]) -> None:
    for key in map(str, node):
        if key not in known and not key.startswith("_"):
            hint = close_matches(key, [k for k in known if k != "params"])
            raise ValueError(f"`{prefix}{key}`: nothing reads this key; {hint}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
