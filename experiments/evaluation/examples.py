"""A few images that an attack breaks, to look at."""

import torch
from torch import nn

from experiments.data.batches import in_order
from experiments.data.contract import Images
from experiments.evaluation.conditions import Condition
from experiments.evaluation.measuring import noting
from experiments.observers.attacked import Examples
from xformopt.perturbations import evaluating

LOOKED_AT, SHOWN = 60, 6
"""Of so many images, so many are shown."""


def examples(model: nn.Module, images: Images, condition: Condition) -> Examples:
    """Return images that are taken rightly, those first that are not when they are attacked."""
    device = next(model.parameters()).device
    some = images.part(torch.arange(min(LOOKED_AT, len(images)), device=images.labels.device))
    with evaluating(model), noting([], condition):
        pixels, labels = next(in_order(some, device))
        attacked = condition.change(model, pixels, labels, 0)
        with torch.no_grad():
            before, after = (model(x).argmax(1) for x in (pixels, attacked))
    broken = (before == labels).int() + (after != labels).int()
    order = broken.argsort(descending=True, stable=True)[:SHOWN]
    held = (x[order] for x in (pixels, attacked, labels, before, after))
    return Examples(*held)
