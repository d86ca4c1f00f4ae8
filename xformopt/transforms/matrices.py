"""Items as matrices, and their singular value decomposition."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xformopt.transforms.items import at_least_float32, item_norm


def as_matrices(x: Tensor) -> Tensor:
    """Return items of shape `(N, d1, …)` as matrices `(N, d1, d2·d3·…)`; vectors get one column.

    >>> as_matrices(torch.zeros(2, 3, 4, 5)).shape, as_matrices(torch.zeros(2, 3)).shape
    (torch.Size([2, 3, 20]), torch.Size([2, 3, 1]))
    """
    return x.unsqueeze(-1) if x.ndim == 2 else x.flatten(2)


def lengths_of_rows(matrices: Tensor) -> Tensor:
    """Return the Euclidean norm of each row, shape `(N, rows, columns)`, as `(N, rows, 1)`."""
    norms = item_norm(matrices.reshape(-1, matrices.shape[-1]), 2)
    return norms.view(*matrices.shape[:-1], 1)


def svd(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the thin U, Σ and Vᵀ of matrices `(N, rows, columns)`.

    What is not finite is looked for after the decomposition has failed, so that no device waits.

    >>> svd(torch.tensor([[[float("nan")]]]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: a singular value decomposition needs finite entries, but item 0 of 1 holds NaN ...
    """
    return _decomposed(
        lambda x: torch.linalg.svd(x, full_matrices=False), matrices, "singular value"
    )


def eigenvectors(matrices: Tensor) -> Tensor:
    """Return the eigenvectors of symmetric matrices `(N, d, d)`, that of the largest value first.

    >>> eigenvectors(torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])).abs()
    tensor([[[0., 1.],
             [1., 0.]]])
    """
    wide = matrices.to(at_least_float32(matrices.dtype))
    return _decomposed(torch.linalg.eigh, wide, "spectral")[1].flip(-1).to(matrices.dtype)


def _decomposed(by: Callable[[Tensor], Any], matrices: Tensor, name: str) -> Any:
    if torch.compiler.is_compiling():
        return by(matrices)
    try:
        return by(matrices)
    except RuntimeError as error:  # LinAlgError is one, which torch does not export to checkers
        finite = matrices.isfinite().flatten(1).all(1).tolist()
        if all(finite):
            raise
        raise ValueError(
            f"a {name} decomposition needs finite entries, but item {finite.index(False)} of "
            f"{len(finite)} holds NaN or infinity; skip steps whose loss or gradients are not "
            "finite, or lower the learning rate"
        ) from error


def map_singular_values(x: Tensor, function: Callable[[Tensor], Tensor]) -> None:
    """Apply a function to the singular values of each item, in place; none changed, none touched.

    >>> x = torch.tensor([[[3.0, 0.0], [0.0, 2.0]]])
    >>> map_singular_values(x, torch.sqrt)
    >>> (x @ x).round(decimals=4)
    tensor([[[3., 0.],
             [0., 2.]]])
    """
    matrices = as_matrices(x).to(at_least_float32(x.dtype))
    u, s, v = svd(matrices)
    mapped = function(s).to(s.dtype)
    changed = (mapped != s).any(-1)[:, None, None]
    new = torch.where(changed, u * mapped.unsqueeze(-2) @ v, matrices)
    x.copy_(new.reshape(x.shape))
