"""The identity of a job, for Hydra: it names the job's folder, `${identity:}`."""

from collections.abc import Iterator
from hashlib import sha256
from inspect import signature
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from experiments.cli.groups import CONF
from experiments.results.identity import identity


def identity_of(cfg: DictConfig) -> str:
    """Return what tells a config from others, whatever its seed; Hydra's own part left out."""
    return identity(values_of(cfg))


def values_of(cfg: DictConfig) -> dict[str, Any]:
    """Return what a config holds, beside Hydra's own part."""
    ours = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    ours._set_parent(None)
    found: Any = OmegaConf.to_container(ours, resolve=True)
    return found


def schema() -> str:
    """Return the hash of all configs that there are to choose from."""
    held = sha256()
    for path in sorted(CONF.rglob("*.yaml")):
        held.update(f"{path.relative_to(CONF)}\n{path.read_text()}".encode())
    for name, text in _stored(ConfigStore.instance().repo):
        held.update(f"{name}\n{text}".encode())
    return held.hexdigest()[:16]


def _stored(nodes: Any, path: str = "") -> Iterator[tuple[str, str]]:
    for name, child in sorted(nodes.items()):
        if isinstance(child, dict):
            yield from _stored(child, f"{path}{name}/")
        elif not f"{path}{name}".startswith(("hydra", "_")):
            yield f"{path}{name}", f"{child.package} {child.node}"


def _resolved(*, _root_: DictConfig) -> str:
    return identity_of(_root_)


def _register() -> None:
    """Name the resolver; OmegaConf 2.4 has another function for it, of an older one's name."""
    named: Any = OmegaConf.register_resolver
    known = "replace" in signature(named).parameters
    (named if known else OmegaConf.register_new_resolver)("identity", _resolved, replace=True)


_register()
