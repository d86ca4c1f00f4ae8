"""What a transform may declare of itself."""

from torch import Tensor

from xformopt.testing.calls import TOLERANCE, Check, apply, beside_of, check_close
from xformopt.transforms import Transform


def idempotent(transform: Transform, x: Tensor) -> None:
    """f(f(x)) = f(x)."""
    once = apply(transform, x)
    check_close(apply(transform, once), once)


def scale_invariant(transform: Transform, x: Tensor) -> None:
    """f(c x) = f(x) for c > 0."""
    for factor in (0.25, 64.0):
        check_close(apply(transform, factor * x), apply(transform, x))


def odd(transform: Transform, x: Tensor) -> None:
    """f(-x) = -f(x)."""
    check_close(apply(transform, -x), -apply(transform, x))


def nonexpansive(transform: Transform, x: Tensor) -> None:
    """‖f(x) - f(y)‖ <= ‖x - y‖ for each item."""
    y = beside_of(x)
    before = (x - y).double().flatten(1).norm(dim=1)
    after = (apply(transform, x) - apply(transform, y)).double().flatten(1).norm(dim=1)
    slack = TOLERANCE[x.dtype] * (1 + before)
    assert (after <= before + slack).all(), f"{after.tolist()} exceeds {before.tolist()}"


def nan_is_zero(transform: Transform, x: Tensor) -> None:
    """f(x)_i = 0 where x_i is NaN, as `torch.sign` has it; without it, NaN must stay."""
    x = x.clone()
    x[(0,) * x.ndim] = float("nan")
    assert apply(transform, x)[(0,) * x.ndim] == 0, "NaN is not 0"


DECLARED: dict[str, Check] = {
    f.__name__: f for f in (idempotent, scale_invariant, odd, nonexpansive, nan_is_zero)
}
"""What holds for the transforms that declare it."""
