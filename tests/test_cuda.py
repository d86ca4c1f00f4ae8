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


CHAIN = [T.adam(), T.momentum(), T.l2_norm(), T.sign(), T.l2_ball(radius=2.0), T.linf_ball()]


def on_cuda() -> tuple[list[torch.Tensor], ParamTransformingOptimizer]:
    params = [torch.ones(4, 4, device="cuda", requires_grad=True) for _ in range(3)]
    for p in params:
        p.grad = torch.randn_like(p)
    return params, ParamTransformingOptimizer(params, lr=0.1, transforms=CHAIN)


def test_a_step_does_not_wait_for_the_device():
    _, optim = on_cuda()
    optim.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        optim.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_step_can_be_captured_as_a_graph():
    params, optim = on_cuda()
    twins, plain = on_cuda()
    for p, twin in zip(params, twins, strict=True):
        assert p.grad is not None
        twin.grad = p.grad.clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        optim.step()
    torch.cuda.current_stream().wait_stream(side)
    plain.step()
    graph = torch.cuda.CUDAGraph()
    fresh = [torch.randn_like(p) for p in params]
    with torch.cuda.graph(graph):
        optim.step()
    for _ in range(2):
        for p, twin, gradient in zip(params, twins, fresh, strict=True):
            assert p.grad is not None
            p.grad.copy_(gradient)
            twin.grad = gradient.clone()
        graph.replay()
        plain.step()
    for p, twin in zip(params, twins, strict=True):
        torch.testing.assert_close(p, twin)
