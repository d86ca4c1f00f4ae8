"""Where a run happens: device, threads, seeds, deterministic kernels."""

import os
import random

import numpy
import torch

from xformopt.refused import Refused, check_count

FOUND = torch.get_num_threads()
"""The threads that torch found."""

DEVICES = ("auto", "cpu", "cuda")


def set_up(device: str, threads: int | None, seed: int) -> torch.device:
    """Seed everything, choose deterministic kernels and the number of threads; find the device."""
    found = choose_device(device)
    check_count("threads", threads, optional=True)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise Refused("seed", "an int in [0, 2**63)", seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if found.type == "cuda":  # only there does it change anything, and it imports the compiler
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(FOUND if threads is None else threads)
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return found


def choose_device(name: str) -> torch.device:
    """Return the device of that name; 'auto' is CUDA where there is one, else the CPU."""
    if name not in DEVICES:
        raise Refused("device", "auto, cpu or cuda", name)
    if name == "cuda" and not torch.cuda.is_available():
        raise Refused("`device=cuda`: no CUDA device is there; use device=cpu or device=auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
