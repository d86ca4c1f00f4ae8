"""All configs that can be chosen: those of the library, of our rooms, and of other packages."""

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra_zen import store

from experiments import adversarial, data, evaluation, models, observers, run, tasks
from xformopt import recipes, transforms
from xformopt.configs import add_to_hydra_store, forget
from xformopt.perturbations import ATTACKS
from xformopt.refused import Refused

TAKEN = {"eval/attacks": "eval.attacks.{name}", "trainer/adversarial": "trainer.adversarial"}
"""The groups whose options are the library's attacks, and where each stands in the config."""

ROOMS = (adversarial, data, models, tasks, evaluation, observers, run)
ENTRY_POINTS = "xformopt.experiments"
"""The group of entry points by which an installed package brings parts of its own."""


def fill_store(trusted: Iterable[str] = ()) -> None:
    """Put everything that is registered into Hydra's store; `trusted` modules are imported."""
    for room in ROOMS:
        for module in iter_modules(room.__path__, f"{room.__name__}."):
            import_module(module.name)
    for point in entry_points(group=ENTRY_POINTS):
        point.load()
    for name in trusted:
        _import(name)
    store.add_to_hydra_store(overwrite_ok=True)
    hydra_store, registered = ConfigStore.instance(), _registered()
    if getattr(hydra_store.repo, "registered", None) != registered:
        add_to_hydra_store()
        _offer_attacks(hydra_store)
        hydra_store.repo = _Shared(hydra_store.repo, registered)


def _registered() -> tuple[Any, ...]:
    """Return all of which the library makes configs."""
    return tuple(map(transforms.get, transforms.names())), tuple(recipes.names()), tuple(ATTACKS)


def _offer_attacks(hydra_store: ConfigStore) -> None:
    """Put the library's attacks where the launcher takes them: it has no key `attack` alone."""
    for file, entry in hydra_store.repo.pop("attack").items():
        name = file.removesuffix(".yaml")
        for group, package in TAKEN.items():
            forget(hydra_store.repo, group, file)
            hydra_store.store(name, entry.node, group, package.format(name=name))


def _import(name: str) -> None:
    if name.endswith(".py"):
        raise Refused("trust", "modules by name", name, f"`trust={name.removesuffix('.py')}`")
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0]:
            raise
        way_out = "is it installed, or in this folder?"
        raise Refused("trust", "modules that can be imported", name, way_out) from error


class _Shared(dict[str, Any]):
    """Hydra's groups of nodes; a copy has groups of its own, with the same nodes in them.

    Each composition copies the whole store, two fifths of its time with ours, and then each node
    that it loads from the copy, which is enough. `registered` is what the library's nodes are of.
    """

    def __init__(self, groups: dict[str, Any], registered: tuple[Any, ...]) -> None:
        super().__init__(groups)
        self.registered = registered

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Shared":
        return _Shared(_copied_groups(self), self.registered)


def _copied_groups(nodes: dict[str, Any]) -> dict[str, Any]:
    return {k: _copied_groups(v) if isinstance(v, dict) else v for k, v in nodes.items()}
