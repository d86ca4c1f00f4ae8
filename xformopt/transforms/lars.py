"""The step of LARS: weight decay inside a layer-wise rate."""

import torch
from torch import Tensor

from xformopt.transforms.items import TINY, item_norm
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import NonNegative, Positive


@transform(standard={"weight_decay": "weight"})
def lars_scale(
    grad: Tensor, param: Tensor, *, coefficient: Positive = 1e-3, weight: NonNegative = 5e-4
) -> None:
    """Add weight decay, and scale by a share of the norms' ratio, as LARS does before momentum.

    g ← coefficient · ‖x‖₂ / (‖g‖₂ + weight ‖x‖₂) · (g + weight · x), or g where x = 0

    >>> import torch
    >>> g, x = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 10.0]])
    >>> lars_scale.fn(g, x, coefficient=1.0, weight=0.5)
    >>> g
    tensor([[3., 9.]])

    Source: You et al. 2017, Large Batch Training of Convolutional Networks, arXiv:1708.03888.
    """
    length, wanted = item_norm(grad, 2), item_norm(param, 2)
    total = length + weight * wanted
    ratio = coefficient * wanted / total.clamp_min(TINY)
    grad.add_(param, alpha=weight).mul_(torch.where((wanted > 0) & (total > 0), ratio, 1.0))
