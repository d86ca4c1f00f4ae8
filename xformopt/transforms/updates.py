"""Transforms of the update, the change that the step of any inner optimizer made."""

import torch
from torch import Tensor

from xformopt.transforms.buffers import SCALAR
from xformopt.transforms.items import TINY, item_norm
from xformopt.transforms.matrices import map_singular_values
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import NonNegative, Positive, Rate


@transform(state={"radius": SCALAR})
def hyperball(update: Tensor, param: Tensor, radius: Tensor, *, lr: Rate) -> None:
    """Give each item's update the length lr · R, and the item the norm R that it began with.

    u ← R y / ‖y‖₂ - x, y = x + lr · R · u / ‖u‖₂, R = ‖x‖₂ when it is first given

    The rate is that of the direction, the same for all items. An update that is small beside the
    rounding of its parameter is lengthened with that: around SGD let a link normalize the gradient.
    Let it be last, and on matrices: one entry cannot turn, and stays. An item of zeros moves as it
    would without, and has the norm that this gives it.

    >>> import torch
    >>> u, x = torch.tensor([[0.0, 7.0]]), torch.tensor([[2.0, 0.0]])
    >>> hyperball.fn(u, x, torch.zeros(1, 1), lr=0.75)
    >>> x + u
    tensor([[1.6000, 1.2000]])

    Source: Wen et al. 2026, Hyperball Optimization, arXiv:2606.16899.
    """
    length, norm = item_norm(update, 2), item_norm(param, 2)
    radius.copy_(torch.where(radius > 0, radius, norm))
    turned = param + update * (lr * radius / length.clamp_min(TINY))
    turned = turned * (radius / item_norm(turned, 2).clamp_min(TINY)) - param
    update.copy_(torch.where((length > 0) & (norm > 0), turned, update))


@transform(laws=("odd",))
def trust_region(
    update: Tensor, param: Tensor, *, max_ratio: Positive = 0.01, eps: NonNegative = 1e-3
) -> None:
    """Scale each item's update down to a share of the item's norm, where it exceeds that.

    u ← u · min(1, max_ratio · max(‖x‖₂, eps) / ‖u‖₂)

    An item of zeros moves by max_ratio · eps at first.

    >>> import torch
    >>> u, x = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 10.0]])
    >>> trust_region.fn(u, x, max_ratio=0.1)
    >>> u
    tensor([[0.6000, 0.8000]])

    Source: Brock et al. 2021, arXiv:2102.06171, whose bound on gradients this is; Fong et al. 2020,
    Trust Ratio Clipping, arXiv:2011.13584, who bound the ratio in LAMB.
    """
    bound = item_norm(param, 2).clamp_min_(eps).mul_(max_ratio)
    update.mul_((bound / item_norm(update, 2).clamp_min_(TINY)).clamp_max_(1.0))


@transform(items="matrix", laws=("odd",))
def spectral_clip(
    update: Tensor, *, max_norm: Positive = 10.0, soft: bool = True, lr: Rate
) -> None:
    """Hold the singular values of each item's update below lr · max_norm, smoothly or by a cut.

    u ← U f(Σ) Vᵀ of u = U Σ Vᵀ, f(σ) = σ / √(1 + (σ / c)²), c = lr · max_norm

    Without `soft` it is f(σ) = min(σ, c).

    >>> import torch
    >>> u = torch.tensor([[[3.0, 0.0], [0.0, 0.5]]])
    >>> spectral_clip.fn(u, max_norm=10.0, soft=False, lr=0.1)
    >>> u
    tensor([[[1.0000, 0.0000],
             [0.0000, 0.5000]]])

    Source: Jiang et al. 2026, Enhancing LLM Training via Spectral Clipping, arXiv:2603.14315,
    there by an iteration, here by a singular value decomposition.
    """
    bound = lr * max_norm + TINY

    def below(s: Tensor) -> Tensor:
        if not soft:
            return s.clamp_max(bound)
        return s / torch.hypot(torch.ones_like(s), s / bound)

    map_singular_values(update, below)
