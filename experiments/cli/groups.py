"""The groups of configs, their options, and the keys that act."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from xformopt import recipes
from xformopt.text import first

CONF = Path(__file__).parents[2] / "conf"


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
    return list(dict.fromkeys(found))


def options(group: str) -> list[str]:
    """Return the options of a group that are for users."""
    stored = [name for name, child in _nodes(group).items() if not isinstance(child, dict)]
    files = [path.name for path in (CONF / group).glob("*.yaml")]
    names = sorted({name.removesuffix(".yaml") for name in [*stored, *files]})
    return [name for name in names if not name.startswith("_")]


def stored(group: str, option: str) -> Any:
    """Return the node that the store holds for an option."""
    return OmegaConf.create(OmegaConf.to_container(_nodes(group)[f"{option}.yaml"].node))


def _nodes(group: str) -> dict[str, Any]:
    nodes: Any = ConfigStore.instance().repo
    for name in group.split("/"):
        nodes = nodes.get(name, {})
    return nodes


def chain_of(optim: str) -> list[str]:
    """Return the options that make the chain of a recipe; of a file, of what it is built on."""
    found: list[str] = []
    for entry in _held("optim", optim).get("defaults", ()):
        if isinstance(entry, DictConfig):
            found += entry.get("transforms") or []
        elif entry != "_self_":
            found += chain_of(entry)
    return found


def having(group: str, key: str) -> list[str]:
    """Return the options of a group that have a key."""
    return [name for name in options(group) if key in map(str, _held(group, name))]


def _held(group: str, option: str) -> Any:
    """Return what an option holds, whether it is a file or stands in the store."""
    file = CONF / group / f"{option}.yaml"
    return OmegaConf.load(file) if file.is_file() else stored(group, option)


def way_out(group: str) -> str:
    """Return what can be chosen in a group."""
    return f"there are: {first([f'`{group}={name}`' for name in options(group)], 6)}"


def routes_of(recipe: Any) -> list[str]:
    """Return the routes of an option of `optim`."""
    return list(recipes.get(recipe).routes) if recipe in recipes.names() else []


def acting(cfg: Any, key: str) -> str:
    """Return which keys of the config end like `key`, as `set …`; "" where none does.

    A rate has one more that acts on all of them: `optim.lr_scale`.
    """
    leaf = key.rpartition(".")[2]
    found = [path for path in paths(cfg) if path.rpartition(".")[2] == leaf and path != key]
    found = [path for path in found if path.startswith("optim.")] or found
    found.sort(key=lambda path: path.count("."))
    if not found:
        return ""
    shown = first([f"`{path}`" for path in found], 3)
    scales = leaf == "lr" and OmegaConf.select(cfg, "optim.lr_scale") is not None
    return f"set {shown}" + (", or `optim.lr_scale` for all rates" if scales else "")


def paths(node: Any, prefix: str = "") -> Iterator[str]:
    """Give the dotted path of each key below a node."""
    for key in map(str, node if isinstance(node, DictConfig) else ()):
        yield f"{prefix}{key}"
        if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
            yield from paths(node[key], f"{prefix}{key}.")
