"""Projections of each item, as a matrix, onto sets of matrices.

An item of one dimension, such as a bias, is a matrix of one column: each of its entries is a row.
"""

import torch
from torch import Tensor

from xformopt.transforms.items import TINY
from xformopt.transforms.matrices import as_matrices, lengths_of_rows, map_singular_values
from xformopt.transforms.project import onto_capped_simplex
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Count, NonNegative


@transform(items="matrix", laws=("idempotent", "nonexpansive", "odd"))
def spectral_ball(param: Tensor, *, radius: NonNegative = 1.0) -> None:
    """Project onto the matrices whose singular values are at most `radius`.

    x ← U min(Σ, radius) Vᵀ

    >>> import torch
    >>> x = torch.tensor([[[3.0, 0.0], [0.0, 0.5]]])
    >>> spectral_ball.fn(x)
    >>> x
    tensor([[[1.0000, 0.0000],
             [0.0000, 0.5000]]])

    Source: Beck 2017, First-Order Methods in Optimization, theorem 7.18.
    """
    map_singular_values(param, lambda s: s.clamp_max(radius))


@transform(items="matrix", laws=("idempotent", "nonexpansive", "odd"))
def nuclear_ball(param: Tensor, *, radius: NonNegative = 1.0) -> None:
    """Project onto the matrices whose singular values sum to at most `radius`.

    x ← U max(Σ - θ, 0) Vᵀ

    >>> import torch
    >>> x = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])
    >>> nuclear_ball.fn(x, radius=3.0)
    >>> x
    tensor([[[2.5000, 0.0000],
             [0.0000, 0.5000]]])

    Source: Beck 2017, First-Order Methods in Optimization, theorem 7.18.
    """

    def onto_l1_ball(s: Tensor) -> Tensor:
        outside = s.sum(1, keepdim=True) > radius
        return torch.where(outside, onto_capped_simplex(s, radius), s)

    map_singular_values(param, onto_l1_ball)


@transform(items="matrix", laws=("odd",))
def stiefel(param: Tensor) -> None:
    """Replace by the nearest matrix with orthonormal rows or columns, whichever are fewer.

    x ← U Vᵀ

    >>> import torch
    >>> x = torch.tensor([[[3.0, 0.0], [0.0, 0.5]]])
    >>> stiefel.fn(x)
    >>> x
    tensor([[[1., 0.],
             [0., 1.]]])

    Source: Higham 1986, Computing the polar decomposition, SIAM J. Sci. Stat. Comput. 7(4).
    """
    map_singular_values(param, torch.ones_like)


@transform(items="matrix", laws=("idempotent", "odd"))
def low_rank(param: Tensor, *, rank: Count = 1) -> None:
    """Replace by the nearest matrix of at most this rank.

    x ← Σ_{i <= rank} σ_i u_i v_iᵀ

    >>> import torch
    >>> x = torch.tensor([[[3.0, 0.0], [0.0, 0.5]]])
    >>> low_rank.fn(x, rank=1)
    >>> x
    tensor([[[3., 0.],
             [0., 0.]]])

    Source: Eckart & Young 1936, Psychometrika 1(3).
    """
    map_singular_values(param, lambda s: torch.where(_index(s) < rank, s, 0))


@transform(items="matrix", laws=("idempotent", "odd", "nonexpansive"))
def max_norm(param: Tensor, *, radius: NonNegative = 3.0) -> None:
    """Project each row of each item, as a matrix, onto the Euclidean ball.

    x_i ← x_i · min(1, radius / ‖x_i‖₂)

    >>> import torch
    >>> x = torch.tensor([[[6.0, 8.0], [0.3, 0.4]]])
    >>> max_norm.fn(x, radius=5.0)
    >>> x
    tensor([[[3.0000, 4.0000],
             [0.3000, 0.4000]]])

    Source: Srivastava et al. 2014, Dropout, JMLR 15, section 5.1.
    """
    rows = as_matrices(param)
    factor = (radius / lengths_of_rows(rows).clamp_min(TINY)).clamp_max(1.0)
    param.copy_((rows * factor).reshape(param.shape))


def _index(s: Tensor) -> Tensor:
    return torch.arange(s.shape[-1], device=s.device)
