"""Several attacks, of which the worst answer counts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xformopt.perturbations.attack import Attack
from xformopt.perturbations.modes import Model
from xformopt.refused import Refused


class WorstOf:
    """Attacks by one after the other, each what the others have left."""

    def __init__(self, attacks: Sequence[Attack]) -> None:
        """Take the attacks, the cheapest first."""
        if not attacks:
            raise Refused("attacks", "at least one", [*attacks])
        self.attacks = [*attacks]

    def at(self, epsilon: float) -> "WorstOf":
        """Return the same with another radius."""
        return WorstOf([attack.at(epsilon) for attack in self.attacks])

    def __call__(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Return images that are attacked, of the shape of those given."""
        answer = images.detach().clone()
        left = torch.arange(len(images), device=images.device)
        for attack in self.attacks:
            if not len(left):
                break
            moved = attack(model, images[left], labels[left])
            answer[left] = moved
            with torch.no_grad():
                holds = (model(moved).argmax(1) == labels[left]) != attack.targeted
            left = left[holds]
        return answer

    def __repr__(self) -> str:
        """Show the attacks."""
        return f"worst_of({', '.join(map(repr, self.attacks))})"


def worst_of(attacks: Sequence[Attack]) -> WorstOf:
    """Return what attacks by one after the other, each what the others have left.

    The share that withstands all is at most that of the strongest of them. This is not AutoAttack,
    whose set of attacks and budgets is fixed.

    >>> from xformopt.perturbations import fgsm, pgd_linf
    >>> worst_of([fgsm(epsilon=0.1), pgd_linf(epsilon=0.1)])
    worst_of(fgsm(epsilon=0.1), pgd_linf(epsilon=0.1))
    """
    return WorstOf(attacks)
