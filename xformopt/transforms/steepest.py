"""Steepest directions: what maximises the inner product with the gradient over a unit ball."""

from torch import Tensor

from xformopt.transforms.registry import transform


@transform(elementwise=True, laws=("idempotent", "scale_invariant", "odd"))
def sign(grad: Tensor) -> None:
    """Replace each entry by its sign: the steepest direction of the l∞ ball.

    g ← sign(g)

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
    signs = flat.gather(1, largest).sign()
    grad.zero_()
    grad.add_(flat.new_zeros(flat.shape).scatter_(1, largest, signs).view(grad.shape))
