"""Registry → hydra-zen store: groups `optim`, `optim/inner`, `optim/transforms`, `attack`."""

from collections.abc import Callable
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra_zen import ZenStore, builds
from omegaconf import MISSING, OmegaConf

from xformopt import recipes, transforms
from xformopt.making import UNREAD, make_optimizer
from xformopt.perturbations import ATTACKS


def make_store() -> ZenStore:
    """Return a store of all that is registered now: recipes, inner optimizers, links, attacks.

    What was defined inside a function is left out: no config can name it.
    """
    store = ZenStore("xformopt", overwrite_ok=True)
    store(_optim("adam", [], "training"), group="optim", name="default")
    store(_routed(MISSING, "training"), group="optim", name="routed")
    for name in recipes.names():
        _store_recipe(store, name, recipes.get(name))
    for name, cls in recipes.inner_classes().items():
        store(_builds(cls, zen_partial=True), group="optim/inner", name=name)
    for name in transforms.names():
        if _is_importable(transforms.get(name).fn):
            _store_link(store, name, name, {})
    for name, maker in ATTACKS.items():
        if _is_importable(maker.search):
            store(_builds(maker), group="attack", name=name)
    return store


def add_to_hydra_store() -> None:
    """Put our groups into Hydra's store; call it before `hydra.main` or `launch`.

    Then `optim: default` in a defaults list gives `cfg.optim`, and
    `instantiate(cfg.optim)(model.named_parameters())` the optimizer; `attack: pgd_linf` gives
    `cfg.attack`, and `instantiate(cfg.attack)` an attack, `f(model, images, labels)`.
    """
    store, nodes = make_store(), ConfigStore.instance().repo
    for entry in store:
        forget(nodes, entry["group"], f"{entry['name']}.yaml")
    store.add_to_hydra_store(overwrite_ok=True)


def forget(nodes: Any, group: str | None, name: str) -> None:
    """Take out a node of ours from an earlier call: Hydra 1.4 warns where one is replaced."""
    for part in (group or "").split("/"):
        nodes = nodes.get(part, {})
    nodes.pop(name, None)


def _builds(target: Callable[..., Any], **options: Any) -> Any:
    return builds(target, populate_full_signature=True, hydra_convert="all", **options)


def _part(target: Callable[..., Any], *, zen_partial: bool, **settings: Any) -> Any:
    """A node of a part of a recipe: `recipes.parts` and `recipes.routes` are made of these."""
    return _builds(target, **settings, **({"zen_partial": True} if zen_partial else {}))


def _store_recipe(store: ZenStore, name: str, recipe: recipes.Recipe) -> None:
    """Store a recipe; parts of its with settings become options of their own, `lion.weight_decay`.

    So another chain or inner optimizer, chosen over the recipe's, is not given their settings.
    """
    if recipe.routes:
        node = _routed(recipes.routes(recipe, _part), recipe.purpose)
        store(node, group="optim", name=name)
        return
    base, chain = recipe.inner, list(recipe.chain)
    if recipe.settings:
        node = _part(recipes.inner_classes()[base], zen_partial=True, **recipe.settings)
        base = f"{name}.{base}"
        store(node, group="optim/inner", name=base)
    for i, (link, settings) in enumerate(recipe.chain.items()):
        if settings:
            chain[i] = f"{name}.{link}"
            _store_link(store, chain[i], link, settings)
    node = _optim(base, chain, recipe.purpose, param_ndim=recipe.param_ndim)
    store(node, group="optim", name=name)


def _store_link(store: ZenStore, option: str, name: str, settings: dict[str, Any]) -> None:
    node = _builds(transforms.get(name), **settings)
    package = f"optim.transforms.{name}"
    store(node, group="optim/transforms", name=option, package=package)


def _optim(base: str, chain: list[str], purpose: str, **settings: Any) -> Any:
    """A node of `optim`; what it sets itself comes last, over the nodes that it names."""
    return _builds(
        make_optimizer,
        zen_partial=True,
        zen_meta={"purpose": purpose},
        hydra_defaults=[{"inner": base}, {"transforms": chain}, "_self_"],
        **{"inner": {}, "transforms": {}, **settings},
    )


def _routed(routes: Any, purpose: str) -> Any:
    """A node of `optim` without the keys that routes of their own inner and chain never read.

    It is a mapping of no type, since configs such as a task's may set `inner.lr` for all recipes.
    """
    node = _builds(
        make_optimizer,
        zen_partial=True,
        zen_meta={"purpose": purpose},
        zen_exclude=UNREAD,
        routes=routes,
    )
    return OmegaConf.create(OmegaConf.to_container(OmegaConf.structured(node)))  # type: ignore[arg-type]


def _is_importable(function: Any) -> bool:
    """Return whether a config can name a function."""
    return "<locals>" not in function.__qualname__
