"""Training on the images that an attack finds."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn

from experiments.adversarial.contract import Adversarial, Trained
from experiments.adversarial.overfitting import Overfitting
from experiments.data.batches import Batch
from experiments.data.contract import Data
from xformopt.perturbations import ATTACKS, Attack, evaluating
from xformopt.refused import Refused


class Madry(Adversarial):
    """Minimises the loss where an attack makes it large: min E max loss(f(x + δ), y).

    The attack asks the network as it evaluates, so that batch norm goes by its averages, and these
    are of attacked images alone. Every image of a batch is attacked, by one search.

    Source: Madry et al. 2018, Towards deep learning models resistant to adversarial attacks, ICLR.
    """

    def __init__(self, attack: Attack) -> None:
        """Take the attack."""
        super().__init__()
        for key, only in {"restarts": 1, "targets": 0, "targeted": False, "seed": 0}.items():
            if getattr(attack, key) != only:
                rule = f"{str(only).lower()} in training, where one search leaves the label, "
                raise Refused(key, f"{rule}by what the run's seed draws", getattr(attack, key))
        self.attack = attack
        self.overfitting = Overfitting(attack) if _is_single(attack) else None

    def __repr__(self) -> str:
        """Show the attack."""
        return repr(self.attack)

    def loss(self, trained: Trained, batch: Batch) -> Tensor:
        """Return the loss on attacked images."""
        images, labels = batch
        with self.clock, self.mode(trained.model):
            moved = self.attack.ascend(trained.model, images, labels, trained.generator)
        return trained.loss(trained.called, (moved, labels))

    def mode(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Return the context in which the attack asks the network."""
        return evaluating(model)

    def check(self, data: Data) -> None:
        """Refuse a loss that needs more classes, and a ball that holds all images."""
        self.attack.check(data.classes, data.shape.numel())

    def watch(self, model: nn.Module, data: Data) -> dict[str, float]:
        """Return the accuracies by which the overfitting of single steps shows."""
        return self.overfitting.watch(model, data) if self.overfitting else {}

    def remarks(self) -> list[str]:
        """Say so where it has set in."""
        return [self.overfitting.said] if self.overfitting and self.overfitting.said else []

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        own = {"overfitting": self.overfitting.state_dict()} if self.overfitting else {}
        return super().state_dict() | own

    def load_state_dict(self, held: Mapping[str, Any]) -> None:
        """Go on from there."""
        super().load_state_dict(held)
        if self.overfitting:
            self.overfitting.load_state_dict(held["overfitting"])


def _is_single(attack: Attack) -> bool:
    """Return whether an attack makes one step alone, and others in its ball make several."""
    is_one = attack.name == "fgsm" or attack.settings.get("steps") == 1
    return is_one and f"pgd_{attack.norm}" in ATTACKS
