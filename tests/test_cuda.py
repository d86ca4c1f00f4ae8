"""The same on a CUDA device; run with `pytest -m cuda` where there is one."""

import pytest
import torch

from xformopt import testing
from xformopt import transforms as T
from xformopt.optim import ParamTransformingOptimizer

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("dtype", testing.TOLERANCE, ids=str)
@pytest.mark.parametrize("name", T.names())
def test_transforms_agree_with_the_cpu(name: str, dtype: torch.dtype):
    transform = T.get(name)
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    here, there = testing.apply(transform, x.cuda()).cpu(), testing.apply(transform, x)
    tolerance = 10 * testing.TOLERANCE[dtype]
    torch.testing.assert_close(here, there, rtol=tolerance, atol=tolerance)


def test_a_chain_trains():
    layer = torch.nn.Linear(4, 4).cuda()
    chain = [T.sign(), T.l2_ball(radius=2.0)]
    optim = ParamTransformingOptimizer(layer.parameters(), torch.optim.AdamW, transforms=chain)
    for _ in range(3):
        optim.zero_grad()
        layer(torch.ones(2, 4, device="cuda")).square().sum().backward()
        optim.step()
    assert all(p.is_cuda and p.isfinite().all() for p in layer.parameters())
