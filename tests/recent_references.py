"""References of the optimizers of 2024 to 2026."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import heavyball
import torch
from pytorch_optimizer import MARS, SCION, SOAP, AdEMAMix, NorMuon
from pytorch_optimizer.optimizer import scion as scions
from pytorch_optimizer.optimizer.agc import agc
from pytorch_optimizer.optimizer.scion import LMONorm
from scipy.linalg import inv, sqrtm
from torch import Tensor, nn

from tests.references import STEPS, Run, by, params

heavyball.utils.compile_mode = None
ORACLE = "zero_power_via_newton_schulz_5"


def after_step(change: Callable[[Tensor, Tensor], None], optimizer: Callable[[Any], Any]) -> Run:
    """Let a function change each parameter, given the one of before the step."""

    def run(layer: nn.Linear, backward: Callable[[], None]) -> None:
        optim = optimizer(layer)
        for _ in range(STEPS):
            backward()
            before = [p.detach().clone() for p in layer.parameters()]
            optim.step()
            with torch.no_grad():
                for p, old in zip(layer.parameters(), before, strict=True):
                    change(p, old)

    return run


def bound_by_weight(p: Tensor, old: Tensor) -> None:
    if p.ndim < 2:
        return
    update = agc(old.flatten(), (p - old).flatten(), agc_clip_val=5e-4, agc_eps=1e-3)
    p.copy_(old + update.view(p.shape))


def clip_softly(p: Tensor, old: Tensor) -> None:
    """SPECTRA's formula for AdamW, by SciPy's functions of matrices."""
    if p.ndim < 2:
        return
    lr, weight = 1e-3, 0.01
    u = ((old * (1 - lr * weight) - p) / lr).numpy()
    clipped = inv(sqrtm(torch.eye(len(u)).double().numpy() + u @ u.T / 10.0**2)) @ u
    p.copy_(old * (1 - lr * weight) - lr * torch.from_numpy(clipped))


def normuon(layer: nn.Linear) -> NorMuon:
    return NorMuon(
        [
            {"params": [layer.weight], "use_muon": True, "lr": 0.02, "weight_decay": 0.01},
            {
                "params": [layer.bias], "use_muon": False, "lr": 1e-3, "betas": (0.9, 0.999),
                "eps": 1e-8, "weight_decay": 0.01,
            },
        ]
    )  # fmt: skip


def on_ball(build: Callable[..., Any]) -> Run:
    """An optimizer of torch gives the update, heavyball's step puts it on the ball."""
    lr = 0.01

    def run(layer: nn.Linear, backward: Callable[[], None]) -> None:
        optim = build([layer.weight], lr=lr, weight_decay=0.0)
        rest = torch.optim.AdamW([layer.bias])
        norm = layer.weight.detach().norm()
        for _ in range(STEPS):
            backward()
            old = layer.weight.detach().clone()
            optim.step()
            rest.step()
            update = (old - layer.weight.detach()) / lr
            heavyball.utils.hyperball_step_([old], [update], [norm], lr, 0.0, False, [None])
            with torch.no_grad():
                layer.weight.copy_(old)

    return run


def soap_and_adamw(layer: nn.Linear, backward: Callable[[], None]) -> None:
    soap = SOAP([layer.weight], lr=3e-3, weight_decay=0.0)
    rest = torch.optim.AdamW([layer.bias], lr=3e-3, betas=(0.95, 0.95))
    for _ in range(STEPS):
        backward()
        soap.step()
        rest.step()


def scion(layer: nn.Linear, backward: Callable[[], None]) -> None:
    """Theirs, but that the oracle's answer is scaled in the gradient's dtype, not in bfloat16."""
    groups = [
        {"params": [layer.weight], "norm_type": LMONorm.SPECTRAL},
        {"params": [layer.bias], "norm_type": LMONorm.BIAS},
    ]
    oracle: Any = getattr(scions, ORACLE)
    with patch.object(scions, ORACLE, lambda x, steps: oracle(x, steps).to(x.dtype)):
        by(lambda _: SCION(groups, lr=2**-10, momentum=0.5, constraint=True, scale=8.0))(
            layer, backward
        )


REFERENCES: dict[str, Run] = {
    "cautious_decay_adamw": params(
        heavyball.AdamW,
        lr=1e-3,
        betas=(0.9, 0.999),
        weight_decay=0.01,
        cautious_weight_decay=True,
        storage_dtype="float64",
    ),
    "ademamix": params(AdEMAMix, lr=1e-3, betas=(0.9, 0.999, 0.9999), alpha=5.0),
    "mars_adamw": params(MARS, lr=3e-3, weight_decay=0.01, weight_decay_1d=0.01),
    "trust_region_adamw": after_step(
        bound_by_weight, lambda layer: torch.optim.AdamW(layer.parameters())
    ),
    "normuon": by(normuon),
    "hyperball_adamw": on_ball(torch.optim.AdamW),
    "hyperball_muon": on_ball(torch.optim.Muon),
    "soap": soap_and_adamw,
    "scion": scion,
    "spectra_adamw": after_step(
        clip_softly, lambda layer: torch.optim.AdamW(layer.parameters())
    ),
}  # fmt: skip

LABELS: dict[str, str] = {
    "cautious_decay_adamw": "heavyball.AdamW with cautious_weight_decay",
    "ademamix": "pytorch_optimizer.AdEMAMix",
    "mars_adamw": "pytorch_optimizer.MARS",
    "trust_region_adamw": "torch.optim.AdamW and pytorch_optimizer agc of its update",
    "normuon": "pytorch_optimizer.NorMuon",
    "hyperball_adamw": "torch.optim.AdamW and heavyball's step on the ball",
    "hyperball_muon": "torch.optim.Muon and heavyball's step on the ball",
    "soap": "pytorch_optimizer.SOAP without decay",
    "scion": "pytorch_optimizer.SCION, scaled in float64, at 1/64 of the rate",
    "spectra_adamw": "torch.optim.AdamW and SciPy's sqrtm",
}
"""What each reference is, for the README."""
