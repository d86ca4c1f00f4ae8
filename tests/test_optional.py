"""What may be missing: NumPy; and what is not a number."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from xformopt import ParamTransformingOptimizer
from xformopt import transforms as T

APPLY = """
import torch
import xformopt
from xformopt import testing, transforms as T
from xformopt.transforms import ranks

results = {}
generator = torch.Generator().manual_seed(0)
for shape in ((3, 4), (4, 600), (2, 3, 300)):
    x = torch.randn(shape, generator=generator)
    for name in T.names():
        results[name, shape] = testing.apply(T.get(name), x)
        w = x.clone().requires_grad_()
        w.grad = x.flip(0)
        xformopt.ParamTransformingOptimizer([w], lr=0.1, transforms=[T.get(name)()]).step()
"""
HIDE = 'import sys\nsys.modules["numpy"] = None\n'
SAVE = "assert not ranks.HAS_NUMPY\ntorch.save(results, sys.argv[1])"


@pytest.mark.filterwarnings("ignore")
def test_all_transforms_run_without_numpy(tmp_path: Path):
    """In another process; this one has NumPy."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HIDE + APPLY + SAVE, str(tmp_path / "results.pt")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert done.returncode == 0, done.stderr
    without: dict[Any, torch.Tensor] = torch.load(tmp_path / "results.pt")
    here: dict[str, Any] = {}
    exec(APPLY, here)
    assert here["ranks"].HAS_NUMPY
    assert {name for name, _ in without} == set(T.names())
    for case, result in here["results"].items():
        torch.testing.assert_close(without[case], result, msg=str(case))


DECOMPOSED = [
    T.spectral_steepest,
    T.nuclear_steepest,
    T.spectral_ball,
    T.nuclear_ball,
    T.stiefel,
    T.low_rank,
]


@pytest.mark.parametrize("transform", DECOMPOSED, ids=lambda t: t.name)
def test_a_decomposition_of_nan_says_what_is_wrong(transform: Any):
    x = torch.ones(2, 3, 4, requires_grad=True)
    x.grad = torch.ones(2, 3, 4)
    x.grad[1, 0, 0] = float("nan")
    optim = ParamTransformingOptimizer([x], lr=0.1, transforms=[transform()], param_ndim=2)
    with pytest.raises(ValueError, match="needs finite entries, but item 1 of 2 holds NaN"):
        optim.step()
