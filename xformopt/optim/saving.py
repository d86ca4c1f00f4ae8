"""What is saved of an optimizer, and what may be loaded into it."""

from typing import Any

from torch.optim import Optimizer

MADE_ANEW = {"step", "state", "param_groups", "defaults", "_program", "_stepped"}
"""Attributes that a copy makes for itself."""

BOOKKEEPING = ("_optimizer_", "_opt_called", "_zero_grad_", "_warned_")
"""How the names of torch's own attributes begin."""

Group = dict[str, Any]
StateDict = dict[str, Any]


def own_attributes(optimizer: Optimizer) -> dict[str, Any]:
    """Return the attributes that are not torch's bookkeeping, which each instance makes anew."""
    return {
        name: value
        for name, value in vars(optimizer).items()
        if name not in MADE_ANEW and not name.startswith(BOOKKEEPING)
    }


def check_same_chain(groups: list[Group], saved: list[Group]) -> None:
    """Raise a `ValueError` where saved groups have settings of other links."""
    ours = {key for group in groups for key in group if "." in key}
    theirs = {key for group in saved for key in group if "." in key}
    if ours != theirs:
        raise ValueError(
            "the state dict is of another chain of transforms: it has "
            f"{sorted(theirs - ours) or 'nothing more'}, and lacks {sorted(ours - theirs)}"
        )


def with_missing_keys(groups: list[Group], state_dict: StateDict) -> StateDict:
    """Fill in the settings that an optimizer of another kind did not save."""
    saved = state_dict["param_groups"]
    if len(saved) != len(groups):
        return state_dict
    pairs = zip(groups, saved, strict=True)
    filled = [{**{k: v for k, v in ours.items() if k != "params"}, **s} for ours, s in pairs]
    return {**state_dict, "param_groups": filled}
