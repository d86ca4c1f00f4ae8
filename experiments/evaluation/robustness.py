"""How robust weights are found to be: what is asked of them, in every run or of finished ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from hydra_zen import store

from experiments.data.contract import Data, Images
from experiments.data.draws import generator
from experiments.evaluation.conditions import CLEAN, Condition, attacked
from experiments.evaluation.corruptions import Corruptions
from experiments.results.evaluations import CORRUPTED, label_of
from xformopt.perturbations import Attack, worst_of
from xformopt.perturbations.making import EPSILON
from xformopt.refused import Refused, check_count, under

WORST = "worst_of"
"""What several attacks are called that count as one."""

CHOOSE = "`'eval.attacks=[pgd_linf]'` chooses one"

Radius = float | str


@dataclass(frozen=True)
class Robustness:
    """What the weights of a run are judged under beside clean images.

    Args:
        attacks: those on each image, by name.
        epsilon: the radii at which each attacks, as 0.03 or 8/255; null: each its own.
        corruptions: true for all C-like corruptions that act on such images, or their names.
        severities: those of the corruptions, from 1 to 5; null: all.
        files: a folder of corrupted test images, as those of CIFAR-10-C, in the place of ours.
        worst_of: whether the attacks count as one, each on what those before it have left.
        every: at each such evaluation in training, and after the last step, valid is attacked too;
            null: at none. The last and the best weights are judged on test at the end, always.
        subset: so many images of a part are taken, the same in each run; null: all.
    """

    attacks: Mapping[str, Attack] = field(default_factory=dict)
    epsilon: Radius | Sequence[Radius] | None = None
    worst_of: bool = False
    corruptions: bool | Sequence[str] = False
    severities: Sequence[int] | None = None
    files: str | None = None
    every: int | None = None
    subset: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be, and what nothing would read."""
        check_count("every", self.every, optional=True)
        check_count("subset", self.subset, optional=True)
        if not isinstance(self.worst_of, bool):
            raise Refused("worst_of", "true or false", self.worst_of)
        self._corruptions()
        for key in ("every", "subset"):
            if not self and getattr(self, key) is not None:
                rule = "null without attacks or corruptions"
                raise Refused(key, rule, getattr(self, key), CHOOSE)
        if not self.attacks and (self.epsilon is not None or self.worst_of):
            key = "worst_of" if self.epsilon is None else "epsilon"
            rule = "false" if self.epsilon is None else "null"
            raise Refused(key, f"{rule} without `eval.attacks`", getattr(self, key), CHOOSE)
        for name, attack in self.attacks.items():
            self._check_attack(name, attack)
        norms = {attack.norm for attack in self.attacks.values()}
        if self.worst_of and len(norms) > 1:
            rule = "false for attacks in several norms, whose radii differ"
            raise Refused("worst_of", rule, self.worst_of)
        list(self._attacks())  # which refuses what is no radius

    def __bool__(self) -> bool:
        """Whether anything is asked."""
        return bool(self.attacks or self.corruptions)

    def conditions(self, data: Data, split: str = "test") -> Iterator[Condition]:
        """Give what the weights are judged under on a part of the data: clean images first."""
        if self:
            yield CLEAN
            yield from self._attacks()
            for one in self._corruptions().conditions(data, split):
                yield one if one.images is None else self._some_of(one)

    def _attacks(self) -> Iterator[Condition]:
        attackers: Mapping[str, Any] = self.attacks
        if self.worst_of:
            attackers = {WORST: worst_of([*self.attacks.values()])}
        for name, attack in attackers.items():
            for epsilon in self._radii(attack):
                yield attacked(name, attack, epsilon)

    def labels(self, data: Data | None) -> tuple[str, ...]:
        """Return what the figures under each condition are called by."""
        conditions = self.conditions(data) if data else ()
        found = [label_of(one.kind, one.name, one.level) for one in conditions]
        corrupted = [CORRUPTED] if any(label.startswith(CORRUPTED) for label in found) else []
        return tuple(dict.fromkeys([*found, *corrupted]))

    def check(self, data: Data | None) -> None:
        """Refuse an attack that does not fit the data."""
        if data is None:
            if self:
                key, empty = ("attacks", "[]") if self.attacks else ("corruptions", "false")
                rule = f"{empty} for a task that reads no data, whose inputs are its parameters"
                raise Refused(key, rule, [*self.attacks] or self.corruptions)
            return
        list(self.conditions(data))  # which reads the files, and refuses other images
        for name, attack in self.attacks.items():
            for epsilon in self._radii(attack):
                with under(f"attacks.{name}"):
                    attack.at(epsilon).check(data.classes, data.shape.numel())

    def part(self, images: Images) -> Images:
        """Return the images of a part that are taken."""
        if self.subset is None or self.subset >= len(images):
            return images
        drawn = torch.randperm(len(images), generator=generator(0, "eval.subset"))
        return images.part(drawn[: self.subset].sort().values.to(images.labels.device))

    def _some_of(self, one: Condition) -> Condition:
        """Return the same on as many of its own images."""
        images, size = one.images, one.size or 0
        assert images is not None
        count = size if self.subset is None else min(size, self.subset)
        return one._replace(images=lambda: self.part(images()), size=count)

    def _corruptions(self) -> Corruptions:
        return Corruptions(self.corruptions, self.severities, self.files)

    def _radii(self, attack: Attack) -> Sequence[Radius]:
        if self.epsilon is None:
            return [attack.epsilon]
        said = self.epsilon
        radii = [said] if isinstance(said, float | int | str) else [*said]
        if not radii:
            raise Refused("epsilon", "at least one radius, or null", said)
        labels = {f"{attack.at(radius).epsilon:.4g}" for radius in radii}
        if len(labels) < len(radii):
            raise Refused("epsilon", "a list of radii that differ in four digits", said)
        return radii

    def _check_attack(self, name: str, attack: Any) -> None:
        if not isinstance(attack, Attack):
            raise Refused(f"attacks.{name}", "an attack", attack, CHOOSE)
        if attack.targeted:
            way_out = "`targets=N` goes towards the N likeliest others"
            raise Refused(f"attacks.{name}.targeted", "false: no target is known", True, way_out)
        if self.epsilon is not None and attack.epsilon != EPSILON[attack.norm]:
            rule = "left out beside `eval.epsilon`, which sets the radii of all"
            raise Refused(f"attacks.{name}.epsilon", rule, attack.epsilon)


ALL = {"_target_": f"{Robustness.__module__}.{Robustness.__qualname__}", "_convert_": "all"} | {
    f.name: {} if f.name == "attacks" else f.default for f in fields(Robustness)
}
store(ALL, group="eval", name="default")
