"""Random starts of perturbations: drawn uniformly from the balls of norms, in place."""

import torch
from torch import Generator, Tensor, default_generator

from xformopt.optim.batching import batch_shape
from xformopt.refused import Refused, RefusedType


@torch.no_grad()
def uniform_like_l1_n_ball_(
    x: Tensor,
    epsilon: float = 1.0,
    param_ndim: int | None = -1,
    generator: Generator = default_generator,
) -> None:
    """Fill each item of `x` by a point drawn uniformly from the l1 ball of radius `epsilon`.

    The gaps between sorted uniform numbers are uniform on the simplex; signs are drawn beside.

    Args:
        x: what is written, of any shape.
        epsilon: the radius, above 0.
        param_ndim: the number of dimensions of an item, as in `ParamTransformingOptimizer`.
        generator: what numbers are drawn from; its device is where.

    >>> x = torch.zeros(2, 3)
    >>> uniform_like_l1_n_ball_(x, epsilon=2.0, generator=torch.Generator().manual_seed(0))
    >>> (x.abs().sum(1) <= 2).all()
    tensor(True)

    Source: https://mathoverflow.net/a/9188, as Rauber et al. 2020, Foolbox Native, JOSS 5(53).
    """
    _check(epsilon)
    count, size = _rows(x, param_ndim)
    drawn = x.new_empty((count, size), device=generator.device)
    ordered = drawn.uniform_(generator=generator).sort(dim=1).values
    gaps = ordered.diff(dim=1, prepend=ordered.new_zeros(count, 1))
    signs = torch.empty_like(drawn).uniform_(-1, 1, generator=generator).sign()
    x.copy_(epsilon * (signs * gaps).reshape(x.shape))


@torch.no_grad()
def uniform_like_l2_n_ball_(
    x: Tensor,
    epsilon: float = 1.0,
    param_ndim: int | None = -1,
    generator: Generator = default_generator,
) -> None:
    """Fill each item of `x` by a point drawn uniformly from the l2 ball of radius `epsilon`.

    The first d of d + 2 coordinates of a uniform point on a sphere are uniform in the ball. The
    arguments are those of `uniform_like_l1_n_ball_`.

    >>> x = torch.zeros(2, 3)
    >>> uniform_like_l2_n_ball_(x, epsilon=2.0, generator=torch.Generator().manual_seed(0))
    >>> (x.norm(dim=1) <= 2).all()
    tensor(True)

    Source: Voelker et al. 2017, Efficiently sampling vectors and coordinates from the n-sphere and
    n-ball, University of Waterloo.
    """
    _check(epsilon)
    count, size = _rows(x, param_ndim)
    drawn = x.new_empty((count, size + 2), device=generator.device).normal_(generator=generator)
    on_sphere = drawn / drawn.norm(dim=1, keepdim=True)
    x.copy_(epsilon * on_sphere[:, :size].reshape(x.shape))


@torch.no_grad()
def uniform_like_linf_n_ball_(
    x: Tensor,
    epsilon: float = 1.0,
    param_ndim: int | None = None,
    generator: Generator = default_generator,
) -> None:
    """Fill `x` by a point drawn uniformly from the l∞ ball of radius `epsilon`.

    The arguments are those of `uniform_like_l1_n_ball_`; `param_ndim` changes nothing, since the
    entries are independent.

    >>> x = torch.zeros(2, 3)
    >>> uniform_like_linf_n_ball_(x, epsilon=2.0, generator=torch.Generator().manual_seed(0))
    >>> (x.abs() <= 2).all()
    tensor(True)
    """
    _check(epsilon)
    drawn = torch.empty_like(x, device=generator.device)
    x.copy_(drawn.uniform_(-epsilon, epsilon, generator=generator))


def _rows(x: Tensor, param_ndim: int | None) -> tuple[int, int]:
    """Return how many items `x` has, and how many entries each."""
    count, *item = batch_shape(x.shape, param_ndim)
    return count, torch.Size(item).numel()


def _check(epsilon: float) -> None:
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float):
        raise RefusedType("epsilon", "a number > 0", epsilon)
    if not epsilon > 0:
        raise Refused("epsilon", "a number > 0", epsilon)
