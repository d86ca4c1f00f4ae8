"""What the references of the recipes do not reach: schedules, kernels, other oracles."""

import pytest
import torch
from pytorch_optimizer import AdEMAMix
from pytorch_optimizer.optimizer import scion
from torch import Tensor

from xformopt import ParamTransformingOptimizer, recipes
from xformopt import transforms as T

STEPS = 40


def gradients(*shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).double() for _ in range(STEPS)]


def steps(optimizer: torch.optim.Optimizer, p: Tensor, grads: list[Tensor]) -> None:
    for grad in grads:
        p.grad = grad.clone().view(p.shape)
        optimizer.step()


def test_ademamix_warms_up():
    ours, theirs = (torch.ones(4, 3).double() for _ in "ab")
    links = [T.ademamix(warmup=20)]
    steps(ParamTransformingOptimizer([ours], transforms=links, lr=1e-2), ours, gradients(4, 3))
    steps(AdEMAMix([theirs], lr=1e-2, t_alpha_beta3=20), theirs, gradients(4, 3))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


class TestSoap:
    def test_a_kernel_is_a_matrix(self):
        kernel, matrix = torch.ones(4, 3, 2, 2).double(), torch.ones(4, 12).double()
        for p in (kernel, matrix):
            optim = ParamTransformingOptimizer([p], transforms=[T.soap()], param_ndim=None, lr=0.1)
            steps(optim, p, gradients(4, 12))
        assert torch.equal(kernel.view(4, 12), matrix)

    def test_what_is_not_turned_is_adam(self, monkeypatch: pytest.MonkeyPatch):
        """A vector has no basis; its first step only looks."""
        ours, theirs = torch.ones(5).double(), torch.ones(5).double()
        optim = ParamTransformingOptimizer(
            [ours], transforms=[T.soap(eps=0.0)], param_ndim=None, lr=0.1
        )
        first, *grads = gradients(5)
        steps(optim, ours, [first])
        assert (ours == 1).all()
        steps(optim, ours, grads)
        steps(torch.optim.Adam([theirs], lr=0.1, betas=(0.95, 0.95), eps=0.0), theirs, grads)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)

    def test_a_side_that_is_too_long_is_not_kept(self):
        p = torch.ones(2, 5000)
        optim = ParamTransformingOptimizer([p], transforms=[T.soap()], param_ndim=None, lr=0.1)
        steps(optim, p, [torch.randn(2, 5000) for _ in range(3)])
        held = optim.state[p]["soap"]
        assert (held["left"].shape, held["right"].shape) == ((2, 2), (0, 0))
        assert p.isfinite().all()
        assert not (p == 1).all()

    def test_bases_stay_orthogonal_and_in_order(self):
        """With gradients of one shape their eigenvectors are found, the largest value first."""
        generator = torch.Generator().manual_seed(0)
        u, v = (torch.linalg.qr(torch.randn(4, 4, generator=generator).double())[0] for _ in "ab")
        p = torch.ones(4, 4).double()
        optim = ParamTransformingOptimizer([p], transforms=[T.soap()], param_ndim=None, lr=0.1)
        scales = [torch.tensor([1.0, 4.0, 2.0, 8.0]), torch.tensor([8.0, 1.0, 4.0, 2.0])]
        for scale in scales:
            steps(optim, p, [u @ torch.diag(scale.double()) @ v.T] * 100)
            basis = optim.state[p]["soap"]["left_basis"]
            torch.testing.assert_close(basis.T @ basis, torch.eye(4).double())
            assert (basis.T @ u).abs().argmax(1).tolist() == scale.argsort(descending=True).tolist()


@pytest.mark.parametrize(
    ("route", "norm"),
    [
        ("embeddings", scion.Col(transpose=True)),
        ("head", scion.Sign()),
        ("rest", scion.BiasRMS()),
    ],
)
def test_oracles_of_scion(route: str, norm: scion.Norm):
    """That of matrices is tested by the recipe's reference."""
    own = recipes.get("scion").routes[route]
    p = torch.zeros(5) if route == "rest" else torch.zeros(5, 3)
    grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
    p.grad = grad.clone()
    skipped = ("ema", "weight_decay")
    links = [T.get(name)(**held) for name, held in own.chain.items() if name not in skipped]
    ParamTransformingOptimizer([p], transforms=links, param_ndim=None, lr=1.0).step()
    torch.testing.assert_close(p, -norm.lmo(grad))
