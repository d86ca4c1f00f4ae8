"""Variance reduction: the gradient corrected by how it has changed since the step before."""

from torch import Tensor

from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Decay, NonNegative


@transform(state=("last",), elementwise=True)
def mars(grad: Tensor, last: Tensor, *, gamma: NonNegative = 0.025, beta1: Decay = 0.95) -> None:
    """Add to the gradient a share of its change, by which an average of the sum follows sooner.

    g ← g + gamma · β₁ / (1 - β₁) · (g - g of the step before)

    β₁ is that of the moments which come after, to be set with theirs; before them the paper scales
    the norm down to 1, as `clip_norm` does.

    >>> import torch
    >>> g, last = torch.tensor([[2.0]]), torch.tensor([[1.0]])
    >>> mars.fn(g, last, gamma=0.5, beta1=0.5)
    >>> g, last
    (tensor([[2.5000]]), tensor([[2.]]))

    Source: Yuan et al. 2024, MARS, arXiv:2411.10438, its approximate form.
    """
    change = grad - last
    last.copy_(grad)
    grad.add_(change, alpha=gamma * beta1 / (1 - beta1))
