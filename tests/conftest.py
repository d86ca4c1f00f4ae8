"""What the tests share: settings of Hypothesis, tolerances, a clean Hydra."""

from collections.abc import Iterator

import hypothesis
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

hypothesis.settings.register_profile("xformopt", deadline=None, derandomize=True)
hypothesis.settings.load_profile("xformopt")

TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-5,
    torch.bfloat16: 2e-2,
    torch.float16: 4e-3,
}
"""Relative tolerance by dtype, for values of about 1."""


@pytest.fixture
def clean_hydra() -> Iterator[None]:
    """Let a test use Hydra in this process, as if it were the first."""
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()
