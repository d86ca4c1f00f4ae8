"""Two gloo processes: sharded and replicated steps equal the step of a single process."""

import faulthandler
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, AdamW

from xformopt import ParamTransformingOptimizer, recipes, testing, transforms
from xformopt import transforms as T

RANKS = 2


def network(seed: int = 0) -> nn.Sequential:
    """5 is not a multiple of the ranks; 1 leaves a rank without a row."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))


def backward(model: nn.Module, step: int, rows: slice = slice(None)) -> None:
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
    model.zero_grad()
    model(x[rows]).sub(1).square().mean().backward()


def difference(single: nn.Module, sharded: nn.Module) -> float:
    pairs = zip(single.parameters(), sharded.parameters(), strict=True)
    return max((a - _whole(b)).abs().max().item() for a, b in pairs)


def _whole(x: Any) -> Tensor:
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def transforming(model: nn.Module, **settings: Any) -> ParamTransformingOptimizer:
    return ParamTransformingOptimizer(
        model.parameters(), **{"InnerOpt": SGD, "lr": 0.1, "strict_ndim": False, **settings}
    )


def sharded_equals_single(rank: int) -> None:
    mesh = init_device_mesh("cpu", (RANKS,))
    for name in transforms.names():
        transform = transforms.get(name)
        if transform.scope == "item" and testing.is_random(transform):
            continue
        for param_ndim in (-1, None, 1):
            single, sharded = network(), network()
            fully_shard(sharded, mesh=mesh)
            settings: dict[str, Any] = {"transforms": [transform()], "param_ndim": param_ndim}
            optims = [transforming(model, **settings) for model in (single, sharded)]
            for step in range(3):
                for model, optim in zip((single, sharded), optims, strict=True):
                    backward(model, step)
                    optim.step()
            assert difference(single, sharded) < 1e-5, f"{name}, param_ndim={param_ndim}"


def rows_need_no_communication(rank: int) -> None:
    model = nn.Linear(6, 4)
    fully_shard(model, mesh=init_device_mesh("cpu", (RANKS,)))
    links = [T.momentum(), T.l2_norm(), T.top_q(q=0.5), T.l2_ball()]
    optim = transforming(model, transforms=links, param_ndim=-1, grad_scale=0.5, grad_bias=0.1)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    with CommDebugMode() as communication:
        optim.step()
    assert communication.get_total_counts() == 0
    whole = transforming(model, transforms=links, param_ndim=None)
    with CommDebugMode() as communication:
        whole.step()
    assert communication.get_total_counts() > 0


def matrices_are_shared_among_the_ranks(rank: int) -> None:
    """Each rank orthogonalizes its share, of matrices of all sizes, and no more."""
    seen: list[tuple[int, ...]] = []

    def watched(grad: Tensor) -> None:
        seen.append(tuple(grad.shape))
        T.orthogonalize.fn(grad)

    own = T.Transform(watched, costly=True)
    shapes = [(6, 4), (5, 7), (1, 3), (4, 4, 3), (2, 2)]
    modules = [
        nn.ParameterList([torch.randn(s, generator=seeded(0)) for s in shapes]) for _ in "ab"
    ]
    fully_shard(modules[1], mesh=init_device_mesh("cpu", (RANKS,)))
    settings: dict[str, Any] = {"param_ndim": None, "lr": 1.0, "transforms": [own()]}
    single, sharded = (transforming(module, **settings) for module in modules)
    for p, q in zip(modules[0], modules[1], strict=True):
        p.grad = torch.randn(p.shape, generator=seeded(1))
        whole: Any = q
        q.grad = distribute_tensor(p.grad, whole.device_mesh, whole.placements)
    sharded.step()
    mine = sum(n for n, *_ in seen)
    single.step()
    assert difference(modules[0], modules[1]) < 1e-5
    assert 0 < mine < len(shapes)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_draws_are_refused(rank: int) -> None:
    model = nn.Linear(6, 4)
    fully_shard(model, mesh=init_device_mesh("cpu", (RANKS,)))
    optim = transforming(model, transforms=[T.random_sparse()])
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    with pytest.raises(ValueError, match="`random_sparse` draws random numbers, which would diff"):
        optim.step()


def adamw_and_recipes_are_sharded(rank: int) -> None:
    mesh = init_device_mesh("cpu", (RANKS,))
    builds: list[Callable[[nn.Module], Any]] = [
        lambda m: transforming(m, InnerOpt=AdamW, transforms=[T.adaptive_clip()]),
        *(
            lambda m, name=name: recipes.build(name, m.named_parameters())
            for name in recipes.names()
            if recipes.get(name).purpose == "training"
        ),
    ]
    for build in builds:
        single, sharded = network(), network()
        fully_shard(sharded, mesh=mesh)
        optims = [build(single), build(sharded)]
        for step in range(3):
            for model, optim in zip((single, sharded), optims, strict=True):
                backward(model, step)
                optim.step()
        assert difference(single, sharded) < 1e-5, optims[0]


def replicas_equal_single(rank: int) -> None:
    for links in ([T.sign()], [T.momentum(), T.orthogonalize(), T.l2_ball()], [T.top_q(q=0.5)]):
        single, replica = network(), network()
        parallel = DistributedDataParallel(replica)
        optims = [transforming(model, transforms=links) for model in (single, replica)]
        for step in range(3):
            backward(single, step)
            backward(parallel, step, slice(4 * rank, 4 * rank + 4))
            for optim in optims:
                optim.step()
        assert difference(single, replica) < 1e-5


def _work(rank: int, port: int) -> None:
    faulthandler.enable()
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=RANKS)
    for check in CHECKS:
        check(rank)
        dist.barrier()
    os._exit(0)  # gloo's threads may abort a process that takes its group down


CHECKS = [
    sharded_equals_single,
    rows_need_no_communication,
    random_draws_are_refused,
    matrices_are_shared_among_the_ranks,
    adamw_and_recipes_are_sharded,
    replicas_equal_single,
]


def test_on_two_processes():
    """Started once for all checks; the traceback of a rank names the one that failed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_work, (port,), RANKS)  # type: ignore[attr-defined]
