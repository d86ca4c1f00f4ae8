"""Orthogonalisation by products alone: the odd quintics of Newton–Schulz iterations."""

import torch
from torch import Tensor

Coefficients = list[tuple[float, float, float]]

MUON: Coefficients = [(3.4445, -4.7750, 2.0315)]
"""The quintic of Jordan et al. 2024, used in every step."""

POLAR_EXPRESS: Coefficients = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
]
"""The optimal quintic of each step, for singular values in [1e-3, 1]; the last one repeats."""

WIDE = 128
"""Rows from which on products outweigh the calls, so that fewer of them are worth more calls."""


def schedule(name: str, steps: int) -> Coefficients:
    """Return the coefficients (a, b, c) of each step.

    >>> schedule("muon", 2)
    [(3.4445, -4.775, 2.0315), (3.4445, -4.775, 2.0315)]
    """
    if name == "muon":
        return MUON * steps
    safe = [(a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in POLAR_EXPRESS[:-1]]
    return [*safe, *POLAR_EXPRESS[-1:] * steps][:steps]


def newton_schulz(x: Tensor, name: str, steps: int) -> Tensor:
    """Return X after steps X ← a X + (b X Xᵀ + c (X Xᵀ)²) X, for matrices `(N, rows, columns)`.

    Where there are many more columns than rows, several steps are taken on the Gram matrix.
    """
    rows, columns = x.shape[-2:]
    wide = rows >= WIDE and columns >= 2 * rows
    for run in _runs(schedule(name, steps), x.dtype, wide):
        x = _apply(x, run)
    return x


def _apply(x: Tensor, steps: Coefficients) -> Tensor:
    """Take steps with two products of the size of X: of its Gram matrix G, and with Q at the end.

    A step multiplies X by P = a + b G + c G², and so G by P², and Q, the product so far, by P.
    """
    gram, q = torch.bmm(x, x.mT), None
    for a, b, c in steps[:-1]:
        p = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        half = torch.baddbmm(gram, p, gram, beta=a)
        gram = torch.baddbmm(half, half, p, beta=a)
        if q is None:
            q = p
            q.diagonal(dim1=-2, dim2=-1).add_(a)
        else:
            q = torch.baddbmm(q, p, q, beta=a)
    a, b, c = steps[-1]
    p = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    if q is None:
        return torch.baddbmm(x, p, x, beta=a)
    return torch.bmm(torch.baddbmm(q, p, q, beta=a), x)


def _runs(coefficients: Coefficients, dtype: torch.dtype, wide: bool) -> list[Coefficients]:
    """Cut the steps into runs, after each of which the Gram matrix is taken anew.

    Until then each step multiplies the rounding error of its small eigenvalues by a²; beyond some
    tenths they may become negative, and the iteration leaves its interval.
    """
    eps = torch.finfo(dtype).eps
    bound = (0.1 if dtype == torch.bfloat16 else 0.1 * eps**0.5) if wide else 0.0
    runs: list[Coefficients] = []
    error = 0.0
    for step in coefficients:
        error *= runs[-1][-1][0] ** 2 if runs else 1
        if not runs or error > bound:
            runs.append([step])
            error = eps
        else:
            runs[-1].append(step)
    return runs
