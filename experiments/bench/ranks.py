"""Two ranks: sharded matrices that are dealt out, over a step where each rank does them all."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch import Tensor, nn

from experiments.bench.case import Case, Measured, ratio
from experiments.bench.clock import Times, interleave
from experiments.bench.links import entry_of
from xformopt import ParamTransformingOptimizer
from xformopt import transforms as T
from xformopt.transforms.definition import Transform

RANKS = 2
MATRICES, SIDE = 12, 512


def everywhere(grad: Tensor) -> None:
    """Orthogonalize, as a transform that is not declared costly: gathered and done by each rank."""
    T.orthogonalize.fn(grad)


LINKS = {"xformopt": T.orthogonalize(), "everywhere": Transform(everywhere)()}


def cases() -> Iterator[Case]:
    """Give the one case."""
    yield Case(
        "ranks",
        f"{MATRICES} matrices of {SIDE} × {SIDE}, FSDP2 on {RANKS} processes",
        "SGD",
        "orthogonalize",
        {who: entry_of("orthogonalize", "param_ndim=None") for who in LINKS},
        [ratio("xformopt", "everywhere", "step over each rank doing all")],
        lambda rounds, device: Measured(time_ranks(rounds), {}),
        cpu_only=True,
    )


def time_ranks(rounds: int, side: int = SIDE) -> Times:
    """Return the seconds of each round, those of the slower rank, in processes of one thread."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        processes = torch.multiprocessing.get_context("spawn")
        started = [
            processes.Process(target=_work, args=(rank, folder, rounds, side), daemon=True)
            for rank in range(RANKS)
        ]
        for process in started:
            process.start()
        try:
            for process in started:
                process.join()
        finally:
            for process in started:
                process.terminate()
        failed = [process.exitcode for process in started if process.exitcode]
        if failed:
            raise RuntimeError(f"a rank ended with status {failed[0]}; what it said is above")
        return json.loads((folder / "times.json").read_text())


def _work(rank: int, folder: Path, rounds: int, side: int) -> None:
    """Time both variants on one rank; the first one writes what the slower one took."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=RANKS
    )
    steps = {who: _step(who, side) for who in LINKS}
    times = interleave(
        {who: step for who, (step, _) in steps.items()},
        rounds=rounds,
        device=torch.device("cpu"),
        prepare={who: ready for who, (_, ready) in steps.items()},
        start_together=dist.barrier,
    )
    slowest = torch.tensor(list(times.values()), dtype=torch.float64)
    dist.all_reduce(slowest, dist.ReduceOp.MAX)
    if rank == 0:
        rows = dict(zip(times, slowest.tolist(), strict=True))
        (folder / "times.json").write_text(json.dumps(rows))
    dist.barrier()
    os._exit(0)  # gloo's threads may abort a process that takes its group down


def _step(who: str, side: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a step on sharded matrices, and what puts their gradients back before it."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    generator = torch.Generator().manual_seed(0)
    module = nn.ParameterList(
        [torch.randn(side, side, generator=generator) for _ in range(MATRICES)]
    )
    fully_shard(module, mesh=init_device_mesh("cpu", (RANKS,)))
    params = list(module.parameters())
    optimizer = ParamTransformingOptimizer(
        params, lr=1e-3, transforms=[LINKS[who]], param_ndim=None
    )
    first = [p.detach().clone() for p in params]
    return optimizer.step, partial(_give_gradients, params, first)


def _give_gradients(params: list[nn.Parameter], grads: list[Tensor]) -> None:
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad.clone()
