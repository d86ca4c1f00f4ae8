"""Items as matrices, and their singular value decomposition."""

import torch
from torch import Tensor

from xformopt.transforms.items import item_norm


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
    if torch.compiler.is_compiling():
        return torch.linalg.svd(matrices, full_matrices=False)
    try:
        return torch.linalg.svd(matrices, full_matrices=False)
    except RuntimeError as error:  # LinAlgError is one, which torch does not export to checkers
        finite = matrices.isfinite().flatten(1).all(1).tolist()
        if all(finite):
            raise
        raise ValueError(
            "a singular value decomposition needs finite entries, but item "
            f"{finite.index(False)} of {len(finite)} holds NaN or infinity; skip steps whose loss "
            "or gradients are not finite, or lower the learning rate"
        ) from error
