"""Catastrophic overfitting: a network that withstands the steps that it saw, and no others."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from experiments.data.batches import in_order
from experiments.data.contract import Data
from experiments.data.draws import generator
from xformopt.perturbations import ATTACKS, Attack, evaluating

IMAGES, STEPS, FALL = 256, 10, 0.5
"""It is watched on so many images of valid, by so many steps; to such a share accuracy falls."""

SINGLE, MULTI = "valid_single_step_accuracy", "valid_multi_step_accuracy"
"""The accuracies under the attack of the training, and under several steps in its ball."""


class Overfitting:
    """Compares, at each evaluation, the accuracy under one step and under several.

    It has set in where that under several falls below half its best, while that under one is no
    lower than it was there.

    Source: Wong et al. 2020, Fast is better than free: revisiting adversarial training, ICLR.
    """

    def __init__(self, attack: Attack) -> None:
        """Take the attack of one step."""
        self.attack = attack
        self.several = ATTACKS[f"pgd_{attack.norm}"](epsilon=attack.epsilon, steps=STEPS)
        self.best: list[float] = []
        self.said = ""

    def watch(self, model: nn.Module, data: Data) -> dict[str, float]:
        """Return both accuracies, on the same images each time; note whether it has set in."""
        with evaluating(model):
            one, many = (_accuracy(model, attack, data) for attack in (self.attack, self.several))
        self.compare(one, many)
        return {SINGLE: one, MULTI: many}

    def compare(self, one: float, many: float) -> None:
        """Note whether it has set in, by the accuracies under one step and under several."""
        if not self.best or many > self.best[1]:
            self.best = [one, many]
        elif many < FALL * self.best[1] and one >= self.best[0] and not self.said:
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


def _accuracy(model: nn.Module, attack: Attack, data: Data) -> float:
    chosen = torch.randperm(len(data.valid), generator=generator(0, "overfitting"))[:IMAGES]
    images = data.valid.part(chosen.to(data.valid.labels.device))
    device = next(model.parameters()).device
    drawn = torch.Generator(device).manual_seed(attack.seed)
    right = 0
    for pixels, labels in in_order(images, device):
        moved = attack.ascend(model, pixels, labels, drawn)
        with torch.no_grad():
            right += int((model(moved).argmax(1) == labels).sum())
    return right / len(images)
