"""Several attacks, of which the worst answer counts."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from xformopt.perturbations.attack import Attack
from xformopt.perturbations.checks import MaskedGradients, warn_of
from xformopt.perturbations.modes import Model
from xformopt.refused import Refused


class WorstOf:
    """Attacks by one after the other, each what the others have left."""

    def __init__(self, attacks: Sequence[Attack]) -> None:
        """Take the attacks, the cheapest first."""
        if not attacks:
            raise Refused("attacks", "at least one", [*attacks])
        self.attacks = [*attacks]

    @property
    def epsilon(self) -> float:
        """Return the largest radius."""
        return max(attack.epsilon for attack in self.attacks)

    @property
    def norm(self) -> str:
        """Return that of the first."""
        return self.attacks[0].norm

    @property
    def gradients(self) -> bool:
        """Whether any asks for gradients."""
        return any(attack.gradients for attack in self.attacks)

    @property
    def settings(self) -> dict[str, Any]:
        """Return those of each attack, by its name."""
        return {attack.name: attack.settings for attack in self.attacks}

    def at(self, epsilon: float | str) -> "WorstOf":
        """Return the same with another radius."""
        return WorstOf([attack.at(epsilon) for attack in self.attacks])

    def __call__(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Return images that are attacked, of the shape of those given."""
        answer = images.detach().clone()
        seen: list[str] = []
        left = torch.arange(len(images), device=images.device)
        for attack in self.attacks:
            if not len(left):
                break
            moved = attack(model, images[left], labels[left])
            answer[left] = moved
            with torch.no_grad():
                holds = (model(moved).argmax(1) == labels[left]) != attack.targeted
            if not attack.gradients and seen:
                warn_of(beaten(attack.name, int((~holds).sum()), seen), MaskedGradients)
            seen += [attack.name] if attack.gradients else []
            left = left[holds]
        return answer

    def __repr__(self) -> str:
        """Show the attacks."""
        return f"worst_of({', '.join(map(repr, self.attacks))})"


def beaten(name: str, count: int, others: Sequence[str]) -> str:
    """Return what is said where an attack without gradients breaks what others with them left.

    >>> beaten("square_linf", 3, ["pgd_linf"])
    'square_linf, which asks for no gradient, broke 3 that pgd_linf left: gradients may be masked'

    Source: Athalye et al. 2018, Obfuscated gradients give a false sense of security, ICML.
    """
    if not count:
        return ""
    said = f"{name}, which asks for no gradient, broke {count} that {', '.join(others)} left"
    return f"{said}: gradients may be masked"


def worst_of(attacks: Sequence[Attack]) -> WorstOf:
    """Return what attacks by one after the other, each what the others have left.

    The share that withstands all is at most that of the strongest of them. This is not AutoAttack,
    whose set of attacks and budgets is fixed.

    >>> from xformopt.perturbations import fgsm, pgd_linf
    >>> worst_of([fgsm(epsilon=0.1), pgd_linf(epsilon=0.1)])
    worst_of(fgsm(epsilon=0.1), pgd_linf(epsilon=0.1))
    """
    return WorstOf(attacks)
