"""Steps that only fill the state."""

import sys
from types import FrameType
from typing import Any

from torch import Tensor

from xformopt.transforms.items import is_at_hand

PRIMER = "_init_optim_state"
"""The function of `torch.distributed.checkpoint` that makes a step so as to have the state made."""


def is_priming(optimizer: Any) -> bool:
    """Return whether a distributed checkpoint steps to have the state made: nothing may move.

    Its parameters have no state then, though those of other routes, which share the state, may
    have been primed; every trainable one has a gradient of zeros, and lr is 0. A step of somebody
    else's that looks the same is a step: it projects.
    """
    if "torch.distributed.checkpoint" not in sys.modules:
        return False
    groups = optimizer.param_groups
    if any(_is_not_zero(group.get("lr", 1.0)) for group in groups):
        return False
    params = [p for group in groups for p in group["params"] if p.requires_grad]
    if any(optimizer.state.get(p) for p in params):  # routes share a state, but no parameters
        return False
    return all(p.grad is not None for p in params) and _is_called_by(PRIMER)


def _is_not_zero(lr: Any) -> bool:
    return bool(lr) if not isinstance(lr, Tensor) or is_at_hand(lr) else False


def _is_called_by(name: str) -> bool:
    frame: FrameType | None = sys._getframe()
    while frame and frame.f_code.co_name != name:
        frame = frame.f_back
    return frame is not None
