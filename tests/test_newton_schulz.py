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
    "low rank": torch.cat([torch.ones(8), torch.full((120,), 1e-3)]),
}
STEPS = [("muon", 5), ("polar_express", 5), ("polar_express", 9)]


def matrices(spectrum: str, columns: int = 512) -> Tensor:
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
        assert error(ns.newton_schulz(x, name, steps), exact) < 1e-8

    @pytest.mark.parametrize(
        ("dtype", "slack"), [(torch.float32, 1e-3), (torch.bfloat16, 0.01)], ids=["f32", "bf16"]
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


def test_fewer_large_products_are_taken_where_it_is_wide(monkeypatch: Any):
    large = []
    bmm = torch.bmm

    def counted(a: Tensor, b: Tensor) -> Tensor:
        large.append(a.shape)
        return bmm(a, b)

    monkeypatch.setattr(torch, "bmm", counted)
    ns.newton_schulz(matrices("flat").bfloat16(), "muon", 5)
    assert len(large) == 4
    large.clear()
    ns.newton_schulz(matrices("flat", 200).bfloat16(), "muon", 5)
    assert len(large) == 5
