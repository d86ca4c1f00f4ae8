"""Steepest directions: what maximises the inner product with the gradient over a unit ball."""

from math import prod

import torch
from torch import Tensor

from xformopt.transforms.clip import bounds_are_ordered
from xformopt.transforms.items import aten
from xformopt.transforms.ranks import keep_largest, number_kept
from xformopt.transforms.registry import transform
from xformopt.transforms.settings import Fraction, Number


@transform(
    elementwise=True,
    foreach=aten._foreach_sign_,
    laws=("idempotent", "scale_invariant", "odd", "nan_is_zero"),
)
def sign(grad: Tensor) -> None:
    """Replace each entry by its sign: the steepest direction of the l∞ ball.

    g ← sign(g), that of NaN being 0 as `torch.sign` has it

    >>> import torch
    >>> g = torch.tensor([[-3.0, 0.0, 0.5]])
    >>> sign.fn(g)
    >>> g
    tensor([[-1.,  0.,  1.]])

    Source: Bernstein et al. 2018, signSGD, arXiv:1802.04434.
    """
    grad.sign_()


@transform(laws=("idempotent", "scale_invariant", "odd"))
def l1_steepest(grad: Tensor) -> None:
    """Keep the sign of each item's largest entry, zero the rest: the steepest of the l1 ball.

    g ← sign(g_k) e_k, k = argmax |g|

    >>> import torch
    >>> g = torch.tensor([[-3.0, 0.0, 0.5], [1.0, 2.0, 0.0]])
    >>> l1_steepest.fn(g)
    >>> g
    tensor([[-1.,  0.,  0.],
            [ 0.,  1.,  0.]])

    Source: Jaggi 2013, Revisiting Frank-Wolfe, ICML.
    """
    flat = grad.flatten(1)
    largest = flat.abs().argmax(1, keepdim=True)
    values = flat.gather(1, largest)
    signs = torch.where(values.isnan(), values, values.sign())
    grad.zero_()
    grad.add_(flat.new_zeros(flat.shape).scatter_(1, largest, signs).view(grad.shape))


@transform(laws=("scale_invariant", "odd", "nan_is_zero"))
def topq_steepest(grad: Tensor, *, q: Fraction = 0.9) -> None:
    """Keep the signs of each item's largest entries, divided by their number k = (1 - q) d.

    g_i ← sign(g_i) / k if |g_i| is among the k largest, else 0

    >>> import torch
    >>> g = torch.tensor([[-3.0, 2.0, 0.5, 1.0]])
    >>> topq_steepest.fn(g, q=0.5)
    >>> g
    tensor([[-0.5000,  0.5000,  0.0000,  0.0000]])

    Source: Tramèr & Boneh 2019, Adversarial Training and Robustness for Multiple Perturbations,
    arXiv:1904.13000, section 4.
    """
    kept = max(1, number_kept(q, prod(grad.shape[1:])))
    keep_largest(grad, kept)
    grad.sign_().div_(kept)


@transform
def simplex_steepest(grad: Tensor) -> None:
    """Put -1 at each item's least entry, 0 elsewhere: a step against it goes to that vertex.

    g ← -e_k, k = argmin g

    >>> import torch
    >>> g = torch.tensor([[3.0, -2.0, 0.5]])
    >>> simplex_steepest.fn(g)
    >>> g
    tensor([[ 0., -1.,  0.]])

    Source: Jaggi 2013, Revisiting Frank-Wolfe, ICML, section 4.
    """
    flat = grad.flatten(1)
    least = flat.argmin(1, keepdim=True)
    values = flat.gather(1, least)
    corners = torch.where(values.isnan(), values, -1.0)
    grad.copy_(torch.zeros_like(flat).scatter_(1, least, corners).view(grad.shape))


@transform(elementwise=True, check=bounds_are_ordered)
def box_steepest(grad: Tensor, *, min: Number = -1.0, max: Number = 1.0) -> None:
    """Replace each entry by the corner of the box that it points away from, negated.

    g ← -min where g > 0, else -max

    >>> import torch
    >>> g = torch.tensor([[3.0, -2.0]])
    >>> box_steepest.fn(g, min=0.0, max=2.0)
    >>> g
    tensor([[-0., -2.]])

    Source: Jaggi 2013, Revisiting Frank-Wolfe, ICML, section 4.
    """
    falls = grad > 0
    grad.clamp_(-max, -max).masked_fill_(falls, -min)  # a clamp lets NaN through
