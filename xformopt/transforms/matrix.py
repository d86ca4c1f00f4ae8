"""Transforms of items as matrices: orthogonalisation, rows, columns, spectral directions.

An item of one dimension, such as a bias, is a matrix of one column: each of its entries is a row.
"""

from typing import Literal

import torch
from torch import Tensor

from xformopt.transforms.items import TINY, at_least_float32, item_norm
from xformopt.transforms.matrices import as_matrices, lengths_of_rows, svd
from xformopt.transforms.newton_schulz import newton_schulz
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Count, NonNegative, Number


@transform(items="matrix", costly=True, laws=("odd",))
def orthogonalize(
    grad: Tensor,
    *,
    coefficients: Literal["muon", "polar_express"] = "muon",
    steps: Count = 5,
    scale: Literal["none", "muon", "match_rms_adamw"] = "none",
    dtype: Literal["float32", "bfloat16"] = "float32",
    eps: NonNegative = 1e-7,
) -> None:
    """Replace each item, as a matrix, by its nearest orthogonal one, up to the iteration's error.

    g ← U Vᵀ of g = U Σ Vᵀ, by X ← a X + (b X Xᵀ + c (X Xᵀ)²) X from X = g / ‖g‖

    Items of more than two dimensions are matrices of shape `(d1, d2·d3·…)`. `scale` multiplies by
    √max(1, rows/columns) ('muon') or 0.2 √max(rows, columns) ('match_rms_adamw').

    >>> import torch
    >>> g = torch.tensor([[[3.0, 0.0], [0.0, -2.0]]])
    >>> orthogonalize.fn(g, coefficients="polar_express", steps=8)
    >>> g.round(decimals=2)
    tensor([[[ 1.,  0.],
             [ 0., -1.]]])

    Source: Jordan et al. 2024, Muon; Amsel et al. 2025, The Polar Express, arXiv:2505.16932.
    """
    x = as_matrices(grad).to(_compute_dtype(grad.dtype, dtype))
    rows, columns = x.shape[-2:]
    tall = rows > columns
    x = x.mT.contiguous() if tall else x
    x = x / item_norm(x, 2).clamp_min(max(eps, TINY)).to(x.dtype)
    x = newton_schulz(x, coefficients, steps)
    grad.copy_((x.mT if tall else x).reshape(grad.shape))
    if _factor(scale, rows, columns) != 1:
        grad.mul_(_factor(scale, rows, columns))


@transform(items="matrix", laws=("scale_invariant", "odd"))
def spectral_steepest(grad: Tensor) -> None:
    """Replace each item, as a matrix, by its polar factor: the steepest of the spectral ball.

    g ← U Vᵀ of g = U Σ Vᵀ, by a singular value decomposition

    >>> import torch
    >>> g = torch.tensor([[[3.0, 0.0], [0.0, -2.0]]])
    >>> spectral_steepest.fn(g)
    >>> g.abs()
    tensor([[[1., 0.],
             [0., 1.]]])

    Source: Carlson et al. 2015, Preconditioned Spectral Descent, NeurIPS.
    """
    u, s, v = _svd(grad)
    grad.copy_((u * (s > 0).unsqueeze(-2) @ v).reshape(grad.shape))


@transform(items="matrix", laws=("scale_invariant", "odd"))
def nuclear_steepest(grad: Tensor) -> None:
    """Replace each item, as a matrix, by its leading singular pair: steepest of the nuclear ball.

    g ← u₁ v₁ᵀ

    >>> import torch
    >>> g = torch.tensor([[[3.0, 0.0], [0.0, -2.0]]])
    >>> nuclear_steepest.fn(g)
    >>> g.abs()
    tensor([[[1., 0.],
             [0., 0.]]])

    Source: Jaggi 2013, Revisiting Frank-Wolfe, ICML, section 4.
    """
    u, s, v = _svd(grad)
    leading = u[..., :1] * (s[..., :1] > 0).unsqueeze(-2) @ v[..., :1, :]
    grad.copy_(leading.reshape(grad.shape))


@transform(items="matrix", laws=("idempotent", "scale_invariant", "odd"))
def row_norm(grad: Tensor, *, eps: NonNegative = TINY) -> None:
    """Divide each row of each item, as a matrix, by its Euclidean norm.

    g_i ← g_i / max(‖g_i‖₂, eps)

    >>> import torch
    >>> g = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])
    >>> row_norm.fn(g)
    >>> g
    tensor([[[0.6000, 0.8000],
             [0.0000, 1.0000]]])

    Source: Pethick et al. 2025, Training Deep Learning Models with Norm-Constrained LMOs,
    arXiv:2502.07529.
    """
    _normalize_along(grad, -1, eps)


@transform(items="matrix", laws=("idempotent", "scale_invariant", "odd"))
def column_norm(grad: Tensor, *, eps: NonNegative = TINY) -> None:
    """Divide each column of each item, as a matrix, by its Euclidean norm.

    g_j ← g_j / max(‖g_j‖₂, eps)

    >>> import torch
    >>> g = torch.tensor([[[3.0, 0.0], [4.0, 2.0]]])
    >>> column_norm.fn(g)
    >>> g
    tensor([[[0.6000, 0.0000],
             [0.8000, 1.0000]]])

    Source: Pethick et al. 2025, Training Deep Learning Models with Norm-Constrained LMOs,
    arXiv:2502.07529.
    """
    _normalize_along(grad, -2, eps)


@transform(items="matrix", laws=("odd",))
def shape_scale(grad: Tensor, *, rows: Number = 0.5, columns: Number = -0.5) -> None:
    """Scale each item, as a matrix, by powers of its numbers of rows and columns.

    g ← rows^a · columns^b · g, for matrices (d1, d2·d3·…) and vectors (d1, 1)

    >>> import torch
    >>> g = torch.ones(1, 4, 1)
    >>> shape_scale.fn(g, rows=0.5)
    >>> g.flatten()
    tensor([2., 2., 2., 2.])

    Source: Yang et al. 2023, A Spectral Condition for Feature Learning, arXiv:2310.17813.
    """
    height, width = as_matrices(grad).shape[1:]
    grad.mul_(height**rows * width**columns)


def _compute_dtype(held: torch.dtype, asked: str) -> torch.dtype:
    if asked == "bfloat16":
        return torch.bfloat16
    return at_least_float32(held)


def _factor(scale: str, rows: int, columns: int) -> float:
    factors = {
        "none": 1.0,
        "muon": max(1, rows / columns) ** 0.5,
        "match_rms_adamw": 0.2 * max(rows, columns) ** 0.5,
    }
    return factors[scale]


def _svd(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Decompose each item, scaled by its largest entry; singular values below rounding are 0."""
    matrices = as_matrices(x).to(at_least_float32(x.dtype))
    largest = matrices.abs().amax((-2, -1), keepdim=True).clamp_min(TINY)
    u, s, v = svd(matrices / largest)
    noise = max(matrices.shape[-2:]) * torch.finfo(s.dtype).eps
    return u, torch.where(s > s[..., :1] * noise, s, 0), v


def _normalize_along(grad: Tensor, dim: int, eps: float) -> None:
    matrices = as_matrices(grad)
    rows = matrices if dim == -1 else matrices.mT
    normalized = rows / lengths_of_rows(rows).clamp_min(max(eps, TINY))
    grad.copy_((normalized if dim == -1 else normalized.mT).reshape(grad.shape))
