"""The toys."""

from math import pi

import torch
from torch import Tensor

from experiments import register
from experiments.tasks.toy import Toy
from xformopt.refused import Refused, check_count


@register.toy()
def rosenbrock(dim: int = 2, starts: int = 64) -> Toy:
    """Return the banana valley: Σ 100 (x[i+1] - x[i]²)² + (1 - x[i])², least at ones.

    Source: Rosenbrock 1960, The Computer Journal 3(3).
    """
    check_count("dim", dim, least=2)

    def function(x: Tensor) -> Tensor:
        head, tail = x[:, :-1], x[:, 1:]
        return (100 * (tail - head**2) ** 2 + (1 - head) ** 2).sum(1)

    return Toy("rosenbrock", function, torch.ones(1, dim), (-2.0, 2.0), starts)


@register.toy()
def himmelblau(starts: int = 64) -> Toy:
    """Return (x² + y - 11)² + (x + y² - 7)², with four minima of value 0.

    Source: Himmelblau 1972, Applied Nonlinear Programming.
    """
    minima = [[3.0, 2.0], [-2.805118, 3.131313], [-3.779310, -3.283186], [3.584428, -1.848127]]

    def function(p: Tensor) -> Tensor:
        x, y = p.unbind(1)
        return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2

    return Toy("himmelblau", function, torch.tensor(minima), (-5.0, 5.0), starts)


@register.toy()
def beale(starts: int = 64) -> Toy:
    """Return (1.5 - x + xy)² + (2.25 - x + xy²)² + (2.625 - x + xy³)², least at (3, 0.5).

    Source: Beale 1958, On an iterative method for finding a local minimum.
    """

    def function(p: Tensor) -> Tensor:
        x, y = p.unbind(1)
        powers = zip((1.5, 2.25, 2.625), (y, y**2, y**3), strict=True)
        return torch.stack([(c - x + x * power) ** 2 for c, power in powers]).sum(0)

    return Toy("beale", function, torch.tensor([[3.0, 0.5]]), (-4.5, 4.5), starts)


@register.toy()
def rastrigin(dim: int = 2, starts: int = 64) -> Toy:
    """Return 10 d + Σ x² - 10 cos(2πx), with many local minima and the global one at zero.

    Source: Rastrigin 1974, Systems of Extremal Control.
    """
    check_count("dim", dim, least=1)

    def function(x: Tensor) -> Tensor:
        return 10 * dim + (x**2 - 10 * torch.cos(2 * pi * x)).sum(1)

    return Toy("rastrigin", function, torch.zeros(1, dim), (-5.12, 5.12), starts)


@register.toy()
def ill_conditioned(dim: int = 10, condition: float = 1000.0, starts: int = 64) -> Toy:
    """Return ½ (x - 1)ᵀ H (x - 1), H's eigenvalues spread evenly in log from 1/condition to 1.

    The eigenvectors are a fixed random rotation, so that no coordinate is an axis of the bowl.
    """
    check_count("dim", dim, least=2)
    if not condition >= 1:
        raise Refused("condition", "a number >= 1", condition)
    normal = torch.randn(dim, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    axes = torch.linalg.qr(normal).Q
    eigenvalues = torch.logspace(0, 1, dim, base=1 / condition, dtype=torch.float64)
    hessian = ((axes * eigenvalues) @ axes.T).float()

    def function(x: Tensor) -> Tensor:
        offset = x - 1
        return 0.5 * ((offset @ hessian.to(x.device)) * offset).sum(1)

    return Toy("ill_conditioned", function, torch.ones(1, dim), (-2.0, 2.0), starts)


@register.toy(optim="fw_simplex")
def simplex_least_squares(dim: int = 10, starts: int = 64) -> Toy:
    """Return ½ ‖A x - b‖² over the probability simplex, with a known sparse solution.

    b is chosen so that the gradient at the solution x* is constant on its support and larger off
    it, which are the optimality conditions; A has full rank, so that x* is the only solution.
    """
    check_count("dim", dim, least=2)
    generator = torch.Generator().manual_seed(0)
    matrix = torch.eye(dim) + 0.3 * torch.randn(dim, dim, generator=generator) / dim**0.5
    support = torch.arange(dim) < -(-dim // 2)
    solution = torch.where(support, torch.rand(dim, generator=generator) + 0.5, 0.0)
    solution /= solution.sum()
    gradient = torch.where(support, -0.5, 0.5)
    target = matrix @ solution - torch.linalg.solve(matrix.T, gradient)

    def function(x: Tensor) -> Tensor:
        return 0.5 * (x @ matrix.T.to(x.device) - target.to(x.device)).square().sum(1)

    return Toy("simplex_least_squares", function, solution[None], (0.0, 1.0), starts)
