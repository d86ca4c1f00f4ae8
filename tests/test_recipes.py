"""Every recipe, step for step, against an implementation that we did not write."""

from typing import Any

import pytest
import torch

from tests import recent_references, references
from tests.references import STEPS, problem
from xformopt import recipes

REFERENCES = {**references.REFERENCES, **recent_references.REFERENCES}
LABELS = {**references.LABELS, **recent_references.LABELS}

DIFFERENT: dict[str, dict[str, Any]] = {
    "soap": {"chain": {"weight_decay": {"weight": 0.0}}},  # theirs comes after the step
    "scion": {"lr_scale": 2**-6},  # large steps of unit norm magnify rounding errors
    "trust_region_adamw": {"chain": {"trust_region": {"max_ratio": 5e-4}}},  # so that it acts
    # pytorch_optimizer's LAMB debiases the step instead of the moments, clips the parameter's norm
    # at 10 and adds eps to the update's norm; we follow the paper, algorithm 2.
    "lamb": {
        "chain": {
            "adam": {"debias": False},
            "trust_ratio": {"max_norm": 10.0, "eps": 1e-6},
            "weight_decay": {"weight": 0.0},
        }
    },
}
LOOSE: dict[str, tuple[float, str]] = {
    **dict.fromkeys(
        ("pgd_l1", "pgd_simplex", "pgd_topq", "pgd_nuclear"), (1e-5, "SLSQP stops there")
    ),
    "muon": (1e-3, "both orthogonalise in bfloat16, which makes steps of rounding errors"),
    "clipped_adam": (1e-5, "torch adds 1e-6 to the norm"),
    "soap": (1e-5, "theirs makes its bases in float32"),
}
"""What is not within 1e-6, and why."""


def error(name: str) -> float:
    """Return the largest difference after `STEPS` steps, relative to the largest parameter."""
    (ours, backward), (theirs, their_backward) = problem(), problem()
    head = ("head.weight", torch.zeros(2, 2))  # without it the layer would be the model's head
    named = [*ours.named_parameters(), head]
    optim = recipes.build(name, named, **DIFFERENT.get(name, {}))
    for step in range(1, STEPS + 1):
        if name == "lamb":
            optim.param_groups[0]["lr"] = 1e-3 / (1 - 0.9**step)
        backward()
        optim.step()
    REFERENCES[name](theirs, their_backward)
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")  # rai's, not ours
@pytest.mark.parametrize("name", recipes.names())
def test_equals_its_reference(name: str):
    assert error(name) <= LOOSE.get(name, (1e-6, ""))[0]


def bounds() -> dict[str, str]:
    """Return the parity errors for the README, as bounds that hold on any machine."""
    return {name: _bound(name, error(name)) for name in recipes.names()}


def _bound(name: str, measured: float) -> str:
    if measured < 1e-12:
        return "< 1e-12"
    value, why = LOOSE.get(name, (1e-6, ""))
    return f"< {value:.0e}" + (f": {why}" if why else "")


def test_every_recipe_cites_its_source():
    for name in recipes.names():
        recipe = recipes.get(name)
        assert recipe.what
        assert any(character.isdigit() for character in recipe.source)


def test_each_says_what_it_is_for():
    purposes = {name: recipes.get(name).purpose for name in recipes.names()}
    assert set(purposes.values()) == {"training", "constraints", "attacks"}
    for name, purpose in purposes.items():
        assert (purpose == "training") == (not name.startswith(("pgd_", "fw_")))
    assert {n for n in purposes if purposes[n] == "attacks"} == {
        "pgd_l1", "pgd_l2", "pgd_linf", "pgd_topq",
    }  # fmt: skip


def test_there_are_enough():
    assert len(recipes.names()) >= 18


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown recipe `muo`: did you mean `muon`"):
        recipes.build("muo", [torch.zeros(1)])
    with pytest.raises(ValueError, match="recipe `lion` has no transform `lion`: did you"):
        recipes.build("lion", [torch.zeros(1)], {"lion": {}})
