"""Newton–Schulz on the Gram matrix takes the same steps as on the matrix itself."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from xformopt.transforms import newton_schulz as ns

SPECTRA = {
    "flat": torch.linspace(1.0, 0.5, 128),
    "falling": torch.logspace(0, -3, 128),
    "steep": torch.logspace(0, -6, 128),
    "rank one": torch.cat([torch.ones(1), torch.full((127,), 1e-6)]),
    "low rank": torch.cat([torch.ones(8), torch.full((120,), 1e-3)]),
}
STEPS = [("muon", 5), ("muon", 8), ("muon", 10), ("polar_express", 5), ("polar_express", 9)]


def matrices(spectrum: str, columns: int = 256) -> Tensor:
    """Two matrices of norm 1 with that spectrum."""
    generator = torch.Generator().manual_seed(0)
    u = torch.linalg.qr(torch.randn(2, 128, 128, generator=generator).double()).Q
    v = torch.linalg.qr(torch.randn(2, columns, 128, generator=generator).double()).Q
    x = u * SPECTRA[spectrum] @ v.mT
    return x / x.norm(dim=(-2, -1), keepdim=True)


def reference(x: Tensor, coefficients: Any) -> Tensor:
    """The steps as the papers write them, in NumPy."""
    y = x.double().numpy()
    for a, b, c in coefficients:
        gram = y @ y.swapaxes(-2, -1)
        y = a * y + (b * gram + c * gram @ gram) @ y
    return torch.from_numpy(np.asarray(y))


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(("name", "steps"), STEPS)
class TestWide:
    def test_in_float64_it_is_exact(self, spectrum: str, name: Any, steps: int):
        x = matrices(spectrum)
        exact = reference(x, ns.schedule(name, steps))
        assert error(ns.newton_schulz(x, name, steps), exact) < 1e-6

    @pytest.mark.parametrize(
        ("dtype", "slack"), [(torch.float32, 1e-4), (torch.bfloat16, 0.03)], ids=["f32", "bf16"]
    )
    def test_it_is_as_exact_as_the_plain_iteration(
        self,
        monkeypatch: Any,
        dtype: torch.dtype,
        slack: float,
        spectrum: str,
        name: Any,
        steps: int,
    ):
        x = matrices(spectrum)
        exact = reference(x, ns.schedule(name, steps))
        wide = error(ns.newton_schulz(x.to(dtype), name, steps), exact)
        monkeypatch.setattr(ns, "WIDE", 10**6)
        plain = error(ns.newton_schulz(x.to(dtype), name, steps), exact)
        assert wide <= 1.1 * plain + slack

    def test_singular_values_stay_in_the_interval(self, spectrum: str, name: Any, steps: int):
        x = ns.newton_schulz(matrices(spectrum).bfloat16(), name, steps)
        assert torch.linalg.svdvals(x.float()).max() < 1.25


def test_fewer_large_products_are_taken_where_it_is_wide(monkeypatch: Any):
    large = []

    def counted(product: Any) -> Any:
        def count(*operands: Tensor, **factors: float) -> Tensor:
            large.extend(x.shape for x in operands[-1:] if x.shape[-1] != x.shape[-2])
            return product(*operands, **factors)

        return count

    for name in ("bmm", "baddbmm"):
        monkeypatch.setattr(torch, name, counted(getattr(torch, name)))
    ns.newton_schulz(matrices("flat").bfloat16(), "muon", 5)
    assert len(large) == 6
    large.clear()
    ns.newton_schulz(matrices("flat", 200).bfloat16(), "muon", 5)
    assert len(large) == 10
