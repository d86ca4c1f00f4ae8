"""Saved configs: `rerun=FOLDER` puts the command's overrides on top, `resume=FOLDER` goes on."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn
from torch.optim import Optimizer

from experiments.cli.command import overrides_of
from experiments.cli.groups import groups
from xformopt.refused import Refused

NAME = "_rerun"
TORCH = ("torch.optim.", "torch.nn.")
TARGETS = ("_target_", "_zen_target", "_zen_wrappers")


def store_rerun(folder: Path, arguments: Sequence[str], trusted: Iterable[str]) -> str:
    """Put the config of a run into Hydra's store; return the name by which it is composed.

    A group that the command chooses anew takes the place of what was saved.
    """
    saved = saved_config("rerun", folder, trusted)
    chosen = _chosen(arguments)
    if "task" in chosen:
        raise Refused("`task` sets data, model and trainer, which `rerun` takes from the run")
    for group in chosen:
        _empty(saved, group.replace("/", "."))
    anew = [{g: [] if many else None} for g, many in chosen.items() if not _is_within(g, chosen)]
    return _store(saved, {"run": {"dir": "outputs/rerun/${now:%Y-%m-%d_%H-%M-%S-%f}"}}, anew)


def store_resume(folder: Path, trusted: Iterable[str]) -> str:
    """Put the config of a run that goes on into Hydra's store; return its name there."""
    saved = saved_config("resume", folder, trusted)
    return _store(saved, {"run": {"dir": str(folder)}, "output_subdir": None})


def saved_config(word: str, folder: Path, trusted: Iterable[str]) -> DictConfig:
    """Return the config of a run, which names nothing that is not ours, torch's or trusted."""
    saved = OmegaConf.load(folder / "config.yaml")
    if not isinstance(saved, DictConfig):
        raise Refused(word, "the folder of a run, with a mapping in `config.yaml`", str(folder))
    check_targets(saved, folder, trusted)
    return saved


def _store(saved: DictConfig, hydra: Any, chosen: Sequence[Any] = ()) -> str:
    """Store a config, what it says of Hydra, and the groups that are chosen anew."""
    logging = {"override hydra/job_logging": "none"}
    with open_dict(saved):
        saved.defaults, saved.hydra = ["launcher", "_self_", *chosen, logging], hydra
    ConfigStore.instance().repo.pop(f"{NAME}.yaml", None)  # Hydra 1.4 warns of another
    ConfigStore.instance().store(NAME, saved)
    return NAME


def check_targets(saved: DictConfig, folder: Path, trusted: Iterable[str]) -> None:
    """Refuse what neither our store nor torch holds, nor a package that the command trusts."""
    known, packages = set(_stored()), {name.partition(".")[0] for name in trusted}
    held = OmegaConf.to_container(saved)
    if "${" in str(held):
        rule = f"`{folder / 'config.yaml'}` must hold values alone, and it has an interpolation, "
        raise Refused(f"{rule}which could name anything; write out what stands behind `${{`")
    named = dict.fromkeys(_targets(held))
    foreign = [t for t in named if t not in known and not _is_of_torch(t)]
    foreign = [t for t in foreign if t.partition(".")[0] not in packages]
    if foreign:
        theirs = ",".join(dict.fromkeys([*trusted, *(t.partition(".")[0] for t in foreign)]))
        raise Refused(
            f"`{folder / 'config.yaml'}` names `{'`, `'.join(foreign)}`, which is neither ours nor "
            f"an optimizer or layer of torch; if you trust it: `trust=[{theirs}]`"
        )


def _is_of_torch(target: str) -> bool:
    """Return whether a name is that of an optimizer or layer, and of nothing that they import."""
    found: Any = torch
    for name in target.split(".")[1:]:
        found = getattr(found, name, None)
    is_part = isinstance(found, type) and issubclass(found, Optimizer | nn.Module)
    return is_part and target.startswith(TORCH)


def _stored() -> Iterator[str]:
    """Give every target that can be chosen by name."""

    def visit(nodes: Any) -> Iterator[str]:
        for child in nodes.values():
            if isinstance(child, dict):
                yield from visit(child)
            elif OmegaConf.is_config(child.node):
                yield from _targets(OmegaConf.to_container(child.node, resolve=False))

    repo = ConfigStore.instance().repo
    yield from visit({k: v for k, v in repo.items() if not k.startswith(("hydra", NAME))})


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key in (key for key in TARGETS if key in node):
            yield from map(str, node[key] if isinstance(node[key], list) else [node[key]])
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list):
            yield from _targets(child)


def _chosen(arguments: Sequence[str]) -> dict[str, bool]:
    """Return the groups that the command chooses, and whether of each several options."""
    known = groups()
    return {
        o.key_or_group: o.get_value_string().startswith("[")
        for o in overrides_of(arguments)
        if o.key_or_group in known and not (o.is_add() or o.is_delete())
    }


def _is_within(group: str, chosen: Iterable[str]) -> bool:
    """Return whether a group is one of another that is chosen too, whose defaults name it."""
    return any(group.startswith(f"{other}/") for other in chosen)


def _empty(saved: DictConfig, key: str) -> None:
    """Leave nothing of what was saved below a key."""
    above, _, leaf = key.rpartition(".")
    parent = OmegaConf.select(saved, above) if above else saved
    if isinstance(parent, DictConfig):
        parent[leaf] = {}
