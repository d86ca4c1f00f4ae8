"""What the tests share: settings of Hypothesis, a clean Hydra."""

from collections.abc import Iterator

import hypothesis
import pytest
from hydra.core.global_hydra import GlobalHydra

hypothesis.settings.register_profile("xformopt", deadline=None, derandomize=True)
hypothesis.settings.load_profile("xformopt")


@pytest.fixture
def clean_hydra() -> Iterator[None]:
    """Let a test use Hydra in this process, as if it were the first."""
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()
