"""Where a run happens: device, threads, seeds, deterministic kernels."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch

from experiments.run.ranks import local_device
from xformopt.refused import Refused, check_count

FOUND = torch.get_num_threads()
"""The threads that torch found."""

NUMPY: Any = numpy.random
SPARE = NUMPY.MT19937(0)
"""What numpy draws from where its draws leave no trace."""


def set_up(device: str, threads: int | None, seed: int) -> torch.device:
    """Seed everything, choose deterministic kernels and the number of threads; find the device."""
    found = choose_device(device)
    check_count("threads", threads, optional=True)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise Refused("seed", "an int in [0, 2**63)", seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if found.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
    if found.index is not None:
        torch.cuda.set_device(found)
    torch.set_num_threads(FOUND if threads is None else threads)
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return found


def choose_device(name: str) -> torch.device:
    """Return the device of that name; 'auto' is the first of CUDA, MPS, CPU that is there."""
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return local_device(next(device for device, is_there in there.items() if is_there))
    if name not in there:
        raise Refused("device", "auto, cpu, cuda or mps", name)
    if not there[name]:
        raise Refused(
            f"`device={name}`: no {name.upper()} device is there; use device=cpu or device=auto"
        )
    return local_device(name)


def draws() -> dict[str, Any]:
    """Return the states of all generators that draw where nothing else is said."""
    legacy: Any = numpy.random.get_state()
    held = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (legacy[0], legacy[1].tolist(), *legacy[2:]),
    }
    if torch.cuda.is_initialized():
        held["cuda"] = torch.cuda.get_rng_state()
    if torch.mps.is_available():
        held["mps"] = torch.mps.get_rng_state()
    return held


def set_draws(held: dict[str, Any]) -> None:
    """Let all generators draw on from where they were."""
    torch.set_rng_state(held["torch"])
    random.setstate(held["python"])
    numpy.random.set_state(held["numpy"])
    if "cuda" in held and torch.cuda.is_available():
        torch.cuda.set_rng_state(held["cuda"].cpu())
    if "mps" in held and torch.mps.is_available():
        torch.mps.set_rng_state(held["mps"].cpu())


@contextmanager
def without_trace() -> Iterator[None]:
    """Let what is drawn within change nothing of what is drawn after, of torch, python or numpy.

    numpy is lent another generator, which is far faster than to copy its own, and this is done at
    each step.
    """
    cuda = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    python, own = random.getstate(), NUMPY.get_bit_generator()
    with torch.random.fork_rng(devices=cuda):
        NUMPY.set_bit_generator(SPARE)
        try:
            yield
        finally:
            NUMPY.set_bit_generator(own)
            random.setstate(python)
