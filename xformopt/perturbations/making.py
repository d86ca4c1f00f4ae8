"""Named attacks: a search of one's own settings, in the ball of a norm."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from xformopt.perturbations.attack import Attack
from xformopt.perturbations.checks import number
from xformopt.refused import Refused
from xformopt.transforms.settings import refuse_unknown, settings_of

EPSILON = {"linf": 8 / 255, "l2": 0.5, "l1": 12.0, "nuclear": 1.0}
"""The radii for which robustness on CIFAR-10 is told, and ours of nuclear balls."""

SHARED = {"epsilon": None, "loss": None, "targets": 0, "restarts": 1, "targeted": False, "seed": 0}
"""Settings that all attacks have, `Attack` says what they are, with their defaults."""

ATTACKS: dict[str, "Maker"] = {}
"""Every attack by its name."""


class Maker:
    """Makes an attack of its settings: those of the search, read off its signature, and `SHARED`.

    Args:
        search: `search(problem, *, …)` tries perturbations; its settings are keyword-only.
        norm: that of the ball.
        name: what the attack is called.
        loss: what is made large, by default.
        gradients: whether the search asks for gradients.
        draws: whether it draws anything, where it has no `random_start` that says so.
    """

    def __init__(
        self,
        search: Callable[..., None],
        norm: str,
        name: str,
        *,
        loss: str = "ce",
        gradients: bool = True,
        draws: bool = True,
    ) -> None:
        """Read the settings off the search."""
        if norm not in EPSILON:
            raise Refused("norm", f"one of {', '.join(EPSILON)}", norm)
        self.__doc__, self.__module__ = search.__doc__, search.__module__
        self.__name__ = self.__qualname__ = name
        self.search, self.norm, self.gradients, self.draws = search, norm, gradients, draws
        self.settings = settings_of(search)
        self.shared = {**SHARED, "epsilon": EPSILON[norm], "loss": loss}
        defaults = {**self.shared, **{key: s.default for key, s in self.settings.items()}}
        keyword = inspect.Parameter.KEYWORD_ONLY
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(k, keyword, default=v, annotation=Any) for k, v in defaults.items()]
        )

    def __call__(self, **settings: Any) -> Attack:
        """Return the attack."""
        refuse_unknown(self.__name__, settings, self.__signature__.parameters)
        own = {key: number(settings.pop(key, s.default)) for key, s in self.settings.items()}
        shared = {**self.shared, **settings}
        for key, setting in self.settings.items():
            setting.check(self.__name__, own[key])
        draws = self.draws and own.get("random_start", True)
        if shared["restarts"] != 1 and not draws:
            rule = "1 where nothing is drawn, so that each would be the same"
            raise Refused("restarts", rule, shared["restarts"], self._way_out())
        return Attack(
            partial(self.search, **own),
            norm=self.norm,
            gradients=self.gradients,
            draws=draws,
            name=self.__name__,
            settings={k: v for k, v in {**shared, **own}.items() if k != "epsilon"},
            **shared,
        )

    def _way_out(self) -> str:
        return "`random_start=true`" if self.draws and "random_start" in self.settings else ""

    def __reduce__(self) -> str:
        """Pickle and copy by reference, as functions do."""
        return self.__name__

    def __repr__(self) -> str:
        """Show the name and where it comes from."""
        return f"<attack {self.__name__} of {self.__module__}>"


def attacks(search: Callable[..., None], *norms: str, **how: Any) -> list[Maker]:
    """Register a search in the balls of some norms, `pgd_linf`, …; return the makers."""
    return [_registered(Maker(search, norm, f"{search.__name__}_{norm}", **how)) for norm in norms]


def attack(norm: str, **how: Any) -> Callable[[Callable[..., None]], Maker]:
    """Register a search in one ball under its own name; return the maker in its place."""
    return lambda search: _registered(Maker(search, norm, search.__name__, **how))


def _registered(maker: Maker) -> Maker:
    if maker.__name__ in ATTACKS:
        raise Refused(f"there is an attack `{maker.__name__}` already: give it another name")
    ATTACKS[maker.__name__] = maker
    return maker
