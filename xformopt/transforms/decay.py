"""Weight decay: in the gradient, of the parameter itself, or where the update goes that way."""

from torch import Tensor

from xformopt.transforms.items import aten
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import NonNegative, Rate


def _weight_decay_each(grads: list[Tensor], params: list[Tensor], *, weight: float) -> None:
    if weight != 0.0:
        aten._foreach_add_(grads, params, alpha=weight)


@transform(elementwise=True, foreach=_weight_decay_each, standard={"weight_decay": "weight"})
def weight_decay(grad: Tensor, param: Tensor, *, weight: NonNegative = 0.01) -> None:
    """Add a share of the parameter to the gradient; decoupled if it stands last in the chain.

    g ← g + weight · x

    >>> import torch
    >>> g, x = torch.tensor([[1.0]]), torch.tensor([[10.0]])
    >>> weight_decay.fn(g, x, weight=0.1)
    >>> g
    tensor([[2.]])

    Source: Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization, arXiv:1711.05101.
    """
    if weight != 0.0:
        grad.add_(param, alpha=weight)


@transform(elementwise=True, laws=("odd", "nonexpansive"), standard={"weight_decay": "weight"})
def decoupled_weight_decay(param: Tensor, *, weight: NonNegative = 0.01, lr: Rate) -> None:
    """Shrink the parameter by a share, apart from its gradient; with `when='pre'` as AdamW does.

    x ← (1 - lr · weight) x

    >>> import torch
    >>> x = torch.tensor([[10.0]])
    >>> decoupled_weight_decay.fn(x, weight=0.5, lr=0.1)
    >>> x
    tensor([[9.5000]])

    Source: Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization, arXiv:1711.05101.
    """
    param.mul_(1 - lr * weight)


@transform(elementwise=True, standard={"weight_decay": "weight"})
def cautious_weight_decay(
    update: Tensor, param: Tensor, *, weight: NonNegative = 0.01, lr: Rate
) -> None:
    """Decay the entries that the update moves towards 0, and these alone.

    u ← u - lr · weight · [u · x < 0] · x

    Entries that the update leaves where they are stay; the paper decays those, too.

    >>> import torch
    >>> u, x = torch.tensor([[-1.0, 1.0, 0.0]]), torch.tensor([[10.0, 10.0, 10.0]])
    >>> cautious_weight_decay.fn(u, x, weight=0.5, lr=0.1)
    >>> u
    tensor([[-1.5000,  1.0000,  0.0000]])

    Source: Chen et al. 2025, Cautious Weight Decay, arXiv:2510.12402, algorithm 1.
    """
    sign = update.sign()
    decay = (sign * param).clamp_max_(0).mul_(lr * weight)  # -lr · weight · |x| where u · x < 0
    update.addcmul_(decay, sign, value=-1)
