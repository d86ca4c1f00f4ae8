"""What torch's optimizers call settings that links have: `weight_decay`, `momentum`, `betas`."""

from collections.abc import Mapping
from typing import Any

from torch.optim import SGD

from xformopt.optim.inner import default_of
from xformopt.refused import Refused
from xformopt.transforms.link import Link

Group = dict[str, Any]
STEADY = "steady_momentum"
"""The group key of an SGD without momentum, which keeps it while a scheduler cycles `momentum`."""


class StandardKeys:
    """The keys of plain SGD that the links of a chain stand for.

    A group holds such a setting under its standard key, where schedulers find it, and SGD itself
    is shown its own default while it steps. `betas` and the like are taken apart where they are
    given.
    """

    def __init__(self, chain: Mapping[str, Link], build: Any, settings: Mapping[str, Any]) -> None:
        """Find the links that take over a key, one each; around SGD alone."""
        self._is_sgd = build is SGD
        self.places = places_of(chain) if self._is_sgd else {}
        own = {key for key in self.places if _is_of_sgd(key)}
        self.renamed = {dotted: key for key in own for dotted in self.places[key]}
        self._default = {key: default_of(SGD, key) for key in own}
        self._doubled = _doubled(chain, self.places, self._is_sgd)
        self.settings = {k: v for k, v in settings.items() if k not in self.places}
        for key in settings.keys() & self.places.keys():
            if settings[key] != default_of(SGD, key):
                way_out = f"set `transforms.{'` and `transforms.'.join(self.places[key])}` instead"
                says = f"`{key}` of SGD (={settings[key]!r}) and the links would both act; "
                raise Refused(
                    key, "", settings[key], way_out, of="SGD", part="inner", says=says + way_out
                )

    def translated(self, group: Group) -> Group:
        """Return a group that was given, with each setting under the key where it is held."""
        return {
            self.renamed.get(key, key): value for key, value in spread(group, self.places).items()
        }

    def take(self, group: Group) -> None:
        """Refuse what would act twice in a new group, or not at all; note if it has no momentum."""
        for key, links in self._doubled.items():
            if group.get(key):
                raise Refused(
                    f"`{key}` of the inner optimizer (={group[key]!r}) would act beside "
                    f"`transforms.{'` and `transforms.'.join(links)}`; set it to 0 where "
                    "these are to act, or leave them out"
                )
        if "momentum" in self._default and group["dampening"]:
            raise Refused(
                f"`dampening` of SGD (={group['dampening']!r}) has no effect, since "
                f"`transforms.{self.places['momentum'][0]}` is the momentum"
            )
        if self._is_sgd and "momentum" not in self._default and not group["momentum"]:
            group.setdefault(STEADY, 0)

    def settle(self, groups: list[Group]) -> None:
        """Put settings that were assigned, by whichever of their names, where they are held."""
        for group in groups if self.places else ():
            for key in self.places.keys() - self._default.keys():
                if key in group:
                    group.update(spread({key: group.pop(key)}, self.places))
            for dotted, key in self.renamed.items():
                if dotted in group:
                    group[key] = group.pop(dotted)

    def shown(self, group: Group) -> Group:
        """Return what SGD is to see in place of the group's own."""
        if STEADY in group and "max_momentum" in group:  # a scheduler cycles what is not there
            return {**self._default, "momentum": group[STEADY]}
        return self._default


def places_of(chain: Mapping[str, Link]) -> dict[str, tuple[str, ...]]:
    """Return the keys that a chain stands for, each with the settings that it means.

    >>> from xformopt.transforms import adam, weight_decay
    >>> places_of({"adam": adam(), "weight_decay": weight_decay()})["betas"]
    ('adam.beta1', 'adam.beta2')
    """
    return {key: places[0] for key, places in _claims(chain).items() if len(places) == 1}


def _claims(chain: Mapping[str, Link]) -> dict[str, list[tuple[str, ...]]]:
    """Return each standard key with what it may mean, by links."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for name, link in chain.items():
        for key, settings in link.transform.standard.items():
            settings = (settings,) if isinstance(settings, str) else settings
            found.setdefault(key, []).append(tuple(f"{name}.{setting}" for setting in settings))
    return found


def _doubled(
    chain: Mapping[str, Link], taken: Mapping[str, Any], is_sgd: bool
) -> dict[str, list[str]]:
    """Return the keys that links have, and the inner optimizer of its own, with the settings."""
    return {
        key: [setting for settings in claims for setting in settings]
        for key, claims in _claims(chain).items()
        if key not in taken and (key == "weight_decay" or (is_sgd and _is_of_sgd(key)))
    }


def spread(given: Mapping[str, Any], places: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Return settings with the standard keys replaced by what they mean; both is refused."""
    replaced = dict(given)
    for key in given.keys() & places.keys():
        twice = [place for place in places[key] if place in given]
        if twice:
            raise Refused(f"`{key}` and `{twice[0]}` are one setting; give one of them")
        value = replaced.pop(key)
        values = value if len(places[key]) > 1 else [value]
        if not isinstance(values, list | tuple) or len(values) != len(places[key]):
            raise Refused(key, f"{len(places[key])} numbers", value, part="inner")
        replaced.update(zip(places[key], values, strict=True))
    return replaced


def _is_of_sgd(key: str) -> bool:
    return default_of(SGD, key) is not default_of(SGD, "params")
