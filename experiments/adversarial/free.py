"""Training whose own gradients move the images."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from experiments import register
from experiments.adversarial.contract import Adversarial, Trained
from experiments.data.batches import Batch
from experiments.data.contract import Data
from xformopt.perturbations.checks import check_fits, radius
from xformopt.refused import check_count


class Free(Adversarial):
    """Makes several steps with each batch, and moves its images by the gradient of each.

    δ ← clip(δ + ε sign ∇ loss, -ε, ε), where the gradient is that of the training step, so that
    attacks take no time of their own. δ goes on from batch to batch. A run makes as many steps as
    without it, so that it sees each image as often, and fewer batches. Batch norm goes by the
    moved images alone.

    Args:
        epsilon: the radius in l∞, as 0.03 or 8/255.
        replays: so many steps are made with a batch.

    Source: Shafahi et al. 2019, Adversarial training for free!, NeurIPS.
    """

    def __init__(self, epsilon: float | str = "8/255", replays: int = 8) -> None:
        """Begin with images as they are."""
        check_count("replays", replays)
        super().__init__(replays)
        self.epsilon = radius(epsilon, "linf")
        self.delta: Tensor | None = None

    def loss(self, trained: Trained, batch: Batch) -> Tensor:
        """Return the loss on the images moved so far; its gradient moves them on."""
        images, labels = batch
        with self.clock:
            delta = self._moved(images)[: len(images)]
            moved = (images + delta).clamp(0, 1)
        return trained.loss(trained.called, (moved, labels))

    def check(self, data: Data) -> None:
        """Refuse a ball that holds all images."""
        check_fits(self.epsilon, "linf", data.shape.numel())

    def _moved(self, images: Tensor) -> Tensor:
        """Return δ after the step before, of as many images as the largest batch."""
        if self.delta is None or len(self.delta) < len(images):
            self.delta = torch.zeros_like(images).requires_grad_()
        elif self.delta.grad is not None:
            moved = self.delta.detach() + self.epsilon * self.delta.grad.sign()
            moved = moved.to(images.device).clamp_(-self.epsilon, self.epsilon)
            self.delta = moved.requires_grad_()
        return self.delta

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds: δ, and the gradient that it has not followed yet."""
        held = super().state_dict()
        if self.delta is not None:
            held |= {"delta": self.delta.detach(), "grad": self.delta.grad}
        return held

    def load_state_dict(self, held: Mapping[str, Any]) -> None:
        """Go on from there."""
        super().load_state_dict(held)
        if "delta" in held:
            delta = held["delta"].requires_grad_()
            delta.grad, self.delta = held["grad"], delta


register.adversarial(Free, name="free")
