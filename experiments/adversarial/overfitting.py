"""Catastrophic overfitting: a network that withstands the steps that it saw, and no others."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from experiments.data.batches import in_order
from experiments.data.contract import Data
from experiments.data.draws import generator
from xformopt.perturbations import Attack, evaluating, pgd_l2, pgd_linf

IMAGES, STEPS, FALL = 256, 10, 0.2
"""It is watched on so many images of valid, by so many steps; so far their accuracy falls."""

SINGLE, MULTI = "valid_single_step_accuracy", "valid_multi_step_accuracy"
"""The accuracies under the attack of the training, and under several steps in its ball."""


class Overfitting:
    """Compares, at each evaluation, the accuracy under one step and under several.

    It has set in where that under several falls by 0.2 below its best, while that under one is no
    lower than it was there.

    Source: Wong et al. 2020, Fast is better than free: revisiting adversarial training, ICLR.
    """

    def __init__(self, attack: Attack) -> None:
        """Take the attack of one step."""
        several = {"linf": pgd_linf, "l2": pgd_l2}.get(attack.norm, pgd_linf)
        self.attack = attack
        self.several = several(epsilon=attack.epsilon, steps=STEPS)
        self.best: list[float] = []
        self.said = ""

    def watch(self, model: nn.Module, data: Data) -> dict[str, float]:
        """Return both accuracies, on the same images each time; note whether it has set in."""
        images, labels = _some(data, next(model.parameters()).device)
        with evaluating(model):
            one, many = (
                _accuracy(model, attack, images, labels) for attack in (self.attack, self.several)
            )
        self._compare(one, many)
        return {SINGLE: one, MULTI: many}

    def _compare(self, one: float, many: float) -> None:
        if not self.best or many > self.best[1]:
            self.best = [one, many]
        elif many < self.best[1] - FALL and one >= self.best[0] and not self.said:
            self.said = (
                f"catastrophic overfitting: under {STEPS} steps the accuracy on valid fell from "
                f"{self.best[1]:.4g} to {many:.4g}, and under one it is {one:.4g}: the robustness "
                "is of that step alone; train with a smaller `step_size`, or by `pgd_linf`"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {"best": self.best, "said": self.said}

    def load_state_dict(self, held: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.best, self.said = held["best"], held["said"]


def _some(data: Data, device: torch.device) -> tuple[Tensor, Tensor]:
    drawn = torch.randperm(len(data.valid), generator=generator(0, "overfitting"))[:IMAGES]
    return next(in_order(data.valid.part(drawn.to(data.valid.labels.device)), device))


def _accuracy(model: nn.Module, attack: Attack, images: Tensor, labels: Tensor) -> float:
    drawn = torch.Generator(images.device).manual_seed(attack.seed)
    moved = attack.ascend(model, images, labels, drawn)
    with torch.no_grad():
        return float((model(moved).argmax(1) == labels).float().mean())
