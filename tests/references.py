"""What recipes are tested against: implementations that we did not write."""

from collections.abc import Callable
from typing import Any

import numpy as np
import rai_toolbox.optim as rai
import torch
from pytorch_optimizer import LARS, Lamb, Lion, Lookahead, OrthoGrad, SignSGD
from pytorch_optimizer.base.optimizer import BaseOptimizer
from pytorch_optimizer.optimizer.agc import agc
from pytorch_optimizer.optimizer.gradient_centralization import centralize_gradient
from pytorch_optimizer.optimizer.grokfast import gradfilter_ema
from torch import Tensor, nn

from tests.test_transforms import project_by_scipy

STEPS = 50
Run = Callable[[nn.Linear, Callable[[], None]], None]
"""Trains a layer for `STEPS` steps; the second argument computes fresh gradients."""


def problem(dtype: torch.dtype = torch.float64) -> tuple[nn.Linear, Callable[[], None]]:
    """Return a layer and what puts the gradients of a least-squares problem on it."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(5, 6).to(dtype)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    x = torch.randn(40, 5, generator=generator).to(dtype)
    y = torch.randn(40, 6, generator=generator).to(dtype)

    def backward() -> None:
        layer.zero_grad()
        (layer(x) - y).square().mean().backward()

    return layer, backward


def by(optimizer: Callable[[Any], Any]) -> Run:
    def run(layer: nn.Linear, backward: Callable[[], None]) -> None:
        optim = optimizer(layer)
        for _ in range(STEPS):
            backward()
            optim.step()

    return run


def with_gradients(change: Callable[[nn.Linear], None], optimizer: Callable[[Any], Any]) -> Run:
    def run(layer: nn.Linear, backward: Callable[[], None]) -> None:
        optim = optimizer(layer)
        for _ in range(STEPS):
            backward()
            change(layer)
            optim.step()

    return run


def clip_units(layer: nn.Linear) -> None:
    for p in layer.parameters():
        assert p.grad is not None
        p.grad.copy_(agc(p, p.grad))


def centralize(layer: nn.Linear) -> None:
    for p in layer.parameters():
        assert p.grad is not None
        centralize_gradient(p.grad)


def clip_rows(layer: nn.Linear) -> None:
    for p in layer.parameters():
        assert p.grad is not None
        for row in p.grad:
            held = torch.zeros_like(row)
            held.grad = row
            norm = float(row.norm())
            torch.nn.utils.clip_grad_norm_([held], 1.0 + 1e-6 if norm > 1 else norm * 2)


def grokfast() -> Callable[[nn.Linear], None]:
    averages: Any = None

    def amplify(layer: nn.Linear) -> None:
        nonlocal averages
        averages = gradfilter_ema(layer, averages)

    return amplify


def cautious_adamw(layer: nn.Linear, backward: Callable[[], None]) -> None:
    """torch's AdamW gives the update, pytorch_optimizer's cautious mask is put on it."""
    lr, weight = 1e-3, 0.01
    optim = torch.optim.AdamW(layer.parameters(), lr=lr, weight_decay=0.0)
    for _ in range(STEPS):
        backward()
        before = [p.detach().clone() for p in layer.parameters()]
        optim.step()
        for p, old in zip(layer.parameters(), before, strict=True):
            update = (old - p.detach()) / lr
            assert p.grad is not None
            BaseOptimizer.apply_cautious(update, p.grad)
            with torch.no_grad():
                p.copy_(old * (1 - lr * weight) - lr * update)


def projected(
    lr: float, project: Callable[[np.ndarray], np.ndarray], direction: Any, whole: bool = False
) -> Run:
    """Steps and projects each row; a vector is one row if `whole`, else each entry is one."""

    def run(layer: nn.Linear, backward: Callable[[], None]) -> None:
        for _ in range(STEPS):
            backward()
            for p in layer.parameters():
                assert p.grad is not None
                count = 1 if whole and p.ndim == 1 else len(p)
                rows = p.detach().view(count, -1) - lr * direction(p.grad.view(count, -1))
                rows = torch.from_numpy(np.stack([project(row) for row in rows.numpy()]))
                with torch.no_grad():
                    p.copy_(rows.view(p.shape))

    return run


def onto_l1_ball(row: np.ndarray) -> np.ndarray:
    if np.abs(row).sum() <= 1:
        return row
    return np.sign(row) * project_by_scipy(np.abs(row), 1.0)


def signs_of_largest(g: Tensor) -> Tensor:
    """The default q = 0.9 of these short rows keeps one entry, as rai's L1 Frank-Wolfe does."""
    largest = g.abs().argmax(1, keepdim=True)
    return torch.zeros_like(g).scatter_(1, largest, g.gather(1, largest).sign())


def frank_wolfe(vertex: Callable[[np.ndarray], np.ndarray]) -> Run:
    """The textbook loop: towards the vertex that minimises <g, s>, with rate 2 / (2 + k)."""

    def run(layer: nn.Linear, backward: Callable[[], None]) -> None:
        for k in range(STEPS):
            backward()
            for p in layer.parameters():
                assert p.grad is not None
                x, g = p.detach().numpy(), p.grad.numpy()
                rate = 2 / (2 + k)
                with torch.no_grad():
                    p.copy_(torch.from_numpy((1 - rate) * x + rate * vertex(g)))

    return run


def simplex_vertex(g: np.ndarray) -> np.ndarray:
    rows = g.reshape(-1, g.shape[-1])
    return np.eye(rows.shape[1])[rows.argmin(1)].reshape(g.shape)


def nuclear_vertex(g: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(g.reshape(len(g), -1), full_matrices=False)
    return -np.outer(u[:, 0], v[0]).reshape(g.shape)


def spectral_vertex(g: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(g.reshape(len(g), -1), full_matrices=False)
    return -(u @ v).reshape(g.shape)


def matrices(
    vertex: Callable[[np.ndarray], np.ndarray], shrink: Callable[[np.ndarray], np.ndarray]
) -> Run:
    """Steps against the oracle's answer, and projects the singular values of each matrix."""

    def run(layer: nn.Linear, backward: Callable[[], None]) -> None:
        for _ in range(STEPS):
            backward()
            for p in layer.parameters():
                assert p.grad is not None
                x = p.detach().numpy() + 1e-3 * vertex(p.grad.numpy())
                u, s, v = np.linalg.svd(x.reshape(len(x), -1), full_matrices=False)
                with torch.no_grad():
                    p.copy_(torch.from_numpy((u * shrink(s)) @ v).view(p.shape))

    return run


def torch_optim(name: str, **kwargs: Any) -> Run:
    return by(lambda layer: getattr(torch.optim, name)(layer.parameters(), **kwargs))


def params(build: Callable[..., Any], **kwargs: Any) -> Run:
    return by(lambda layer: build(layer.parameters(), **kwargs))


def rai_optim(name: str, **kwargs: Any) -> Run:
    build = getattr(rai, name)
    return by(lambda layer: build(list(layer.parameters()), **kwargs))


def sgd(layer: nn.Linear) -> Any:
    return torch.optim.SGD(layer.parameters(), lr=1e-3)


def muon_and_adamw(layer: nn.Linear, backward: Callable[[], None]) -> None:
    muon = torch.optim.Muon([layer.weight], lr=0.02, weight_decay=0.01)
    adamw = torch.optim.AdamW([layer.bias])
    for _ in range(STEPS):
        backward()
        muon.step()
        adamw.step()


REFERENCES: dict[str, Run] = {
    "sgd_momentum": torch_optim("SGD", lr=1e-2, momentum=0.9),
    "sign_sgd": params(SignSGD, lr=1e-3, momentum=0.0),
    "signum": params(SignSGD, lr=1e-3, momentum=0.9),
    "lion": params(Lion, lr=1e-4),
    "normalized_sgd": rai_optim("L2NormedGradientOptim", param_ndim=None, lr=1e-3),
    "lars": params(LARS, lr=1.0, trust_coefficient=1e-3, weight_decay=5e-4),
    "lamb": params(Lamb, lr=1e-3, max_grad_norm=0.0),
    "rmsprop_parts": torch_optim("RMSprop", lr=1e-3),
    "adam_parts": torch_optim("Adam"),
    "adamw_parts": torch_optim("AdamW"),
    "cautious_adamw": cautious_adamw,
    "clipped_adam": with_gradients(clip_rows, lambda m: torch.optim.Adam(m.parameters())),
    "grokfast_adamw": lambda m, b: with_gradients(
        grokfast(), lambda m: torch.optim.AdamW(m.parameters())
    )(m, b),
    "ortho_sgd": by(lambda layer: OrthoGrad(torch.optim.SGD(layer.parameters(), lr=1e-3))),
    "lookahead_adam": by(lambda layer: Lookahead(torch.optim.Adam(layer.parameters()))),
    "muon": muon_and_adamw,
    "agc": with_gradients(clip_units, lambda m: torch.optim.SGD(m.parameters(), lr=0.1)),
    "centralized_sgd": with_gradients(centralize, sgd),
    "pgd_l1": projected(1e-3, onto_l1_ball, signs_of_largest),
    "pgd_l2": rai_optim("L2ProjectedOptim", epsilon=1.0, lr=1e-3),
    "pgd_linf": rai_optim("LinfProjectedOptim", epsilon=1.0, lr=1e-3),
    "pgd_simplex": projected(1e-3, lambda row: project_by_scipy(row, 1.0), lambda g: g, whole=True),
    "pgd_topq": projected(1e-3, onto_l1_ball, signs_of_largest),
    "pgd_box": projected(1e-3, lambda row: row.clip(-1, 1), lambda g: g),
    "pgd_nonnegative": projected(1e-3, lambda row: np.maximum(row, 0), lambda g: g),
    "pgd_spectral": matrices(spectral_vertex, lambda s: np.minimum(s, 1)),
    "pgd_nuclear": matrices(nuclear_vertex, onto_l1_ball),
    "fw_l1": rai_optim("L1FrankWolfe", epsilon=1.0),
    "fw_l2": rai_optim("L2FrankWolfe", epsilon=1.0),
    "fw_linf": rai_optim("LinfFrankWolfe", epsilon=1.0),
    "fw_simplex": frank_wolfe(simplex_vertex),
    "fw_topq": frank_wolfe(
        lambda g: (
            -signs_of_largest(torch.from_numpy(g.reshape(len(g), -1))).numpy().reshape(g.shape)
        )
    ),
    "fw_box": frank_wolfe(lambda g: np.where(g > 0, -1.0, 1.0)),
    "fw_spectral": frank_wolfe(spectral_vertex),
    "fw_nuclear": frank_wolfe(nuclear_vertex),
}

LABELS: dict[str, str] = {
    "sgd_momentum": "torch.optim.SGD",
    "sign_sgd": "pytorch_optimizer.SignSGD",
    "signum": "pytorch_optimizer.SignSGD",
    "lion": "pytorch_optimizer.Lion",
    "normalized_sgd": "rai_toolbox.L2NormedGradientOptim",
    "lars": "pytorch_optimizer.LARS",
    "lamb": "pytorch_optimizer.Lamb, with its debiasing and bound",
    "rmsprop_parts": "torch.optim.RMSprop",
    "adam_parts": "torch.optim.Adam",
    "adamw_parts": "torch.optim.AdamW",
    "cautious_adamw": "torch.optim.AdamW and pytorch_optimizer's mask",
    "clipped_adam": "torch clip_grad_norm_ and Adam",
    "grokfast_adamw": "pytorch_optimizer gradfilter_ema and torch AdamW",
    "ortho_sgd": "pytorch_optimizer.OrthoGrad",
    "lookahead_adam": "pytorch_optimizer.Lookahead",
    "muon": "torch.optim.Muon and AdamW",
    "agc": "pytorch_optimizer agc and torch SGD",
    "centralized_sgd": "pytorch_optimizer centralize_gradient and torch SGD",
    "pgd_l1": "rai_toolbox's direction, SciPy's SLSQP",
    "pgd_l2": "rai_toolbox.L2ProjectedOptim",
    "pgd_linf": "rai_toolbox.LinfProjectedOptim",
    "pgd_simplex": "SciPy's SLSQP",
    "pgd_topq": "rai_toolbox's direction, SciPy's SLSQP",
    "pgd_box": "the textbook loop in NumPy",
    "pgd_nonnegative": "the textbook loop in NumPy",
    "pgd_spectral": "the textbook loop with NumPy's SVD",
    "pgd_nuclear": "NumPy's SVD, SciPy's SLSQP",
    "fw_l1": "rai_toolbox.L1FrankWolfe",
    "fw_l2": "rai_toolbox.L2FrankWolfe",
    "fw_linf": "rai_toolbox.LinfFrankWolfe",
    "fw_simplex": "the textbook loop in NumPy",
    "fw_topq": "the textbook loop in PyTorch",
    "fw_box": "the textbook loop in NumPy",
    "fw_spectral": "the textbook loop with NumPy's SVD",
    "fw_nuclear": "the textbook loop with NumPy's SVD",
}
"""What each reference is, for the README."""
