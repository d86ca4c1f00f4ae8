"""What attacks cost: PGD beside a loop by hand, torchattacks and rai_toolbox, of equal steps.

Activations are so large that glibc takes them from the system at each pass and gives them back, a
third of the time, which hides the rest: `MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000
MALLOC_ARENA_MAX=1` before the command lets it keep them.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from experiments.bench.case import Case, Measured, ratio
from experiments.bench.clock import interleave
from experiments.bench.peers import RAI, found
from experiments.models.cnn import small_cnn
from experiments.models.resnet import resnet18
from xformopt.optim import LinfProjectedOptim
from xformopt.perturbations import gradient_ascent, pgd_linf

BATCH, STEPS, EPSILON, SIZE = 128, 20, 8 / 255, 2 / 255
NETS: dict[str, tuple[Callable[..., nn.Module], int, int]] = {
    "small_cnn, 32 × 32": (small_cnn, 32, 0),
    "small_cnn, 32 × 32, 12 misclassified": (small_cnn, 32, 12),
    "resnet18, 16 × 16": (resnet18, 16, 0),
}
"""A network, the side of its images, and how many it misclassifies, as trained ones do some."""

ENTRIES = {
    "ours": "xformopt.perturbations.pgd_linf",
    "ours, drop-in": "xformopt.perturbations.gradient_ascent",
    "torchattacks": "torchattacks.PGD",
    "rai_toolbox": "rai_toolbox.perturbations.gradient_ascent",
}
OVER = {
    ("ours", "by hand"): 1.1,
    ("ours", "torchattacks"): 1.0,
    ("ours", "rai_toolbox"): 1.0,
    ("ours, drop-in", "rai_toolbox"): 1.0,
}
"""What of ours is to take how much at most, over each of the others."""


PROJECTED = LinfProjectedOptim.__name__


class Victim(NamedTuple):
    """A network, images, and their classes."""

    net: nn.Module
    images: Tensor
    labels: Tensor


def cases() -> Iterator[Case]:
    """Give a case a network."""
    figures = [
        ratio(own, other, f"{STEPS} steps over {other}", goal)
        for (own, other), goal in OVER.items()
        if other == "by hand" or _peer(other)
    ]
    for name in NETS:
        yield Case("attacks", name, "", "pgd_linf", ENTRIES, figures, partial(_measured, name))


def _measured(name: str, rounds: int, device: torch.device) -> Measured:
    make, side, wrong = NETS[name]
    torch.manual_seed(0)
    net = make(torch.Size((3, side, side)), 10).to(device).eval()
    images = torch.rand(BATCH, 3, side, side, device=device)
    with torch.no_grad():
        labels = net(images).argmax(1)
    labels[:wrong] = (labels[:wrong] + 1) % 10
    victim = Victim(net, images, labels)
    times = interleave(variants(victim), rounds=rounds, device=device, prepare={})
    return Measured(times, {})


def variants(victim: Victim) -> dict[str, Callable[[], Any]]:
    """Return an attack by each who is there, with equal steps from the images themselves."""
    net, images, labels = victim
    ours = pgd_linf(epsilon=EPSILON, steps=STEPS, step_size=SIZE, random_start=False)
    made: dict[str, Callable[[], Any]] = {
        "ours": partial(ours, net, images, labels),
        "ours, drop-in": partial(gradient_ascent, **_settings(victim, LinfProjectedOptim)),
        "by hand": partial(by_hand, victim),
    }
    if pgd := _peer("torchattacks"):
        theirs = pgd(net, eps=EPSILON, alpha=SIZE, steps=STEPS, random_start=False)
        made["torchattacks"] = partial(theirs, images, labels)
    if ascent := _peer("rai_toolbox"):
        made["rai_toolbox"] = partial(ascent, **_settings(victim, found(RAI, PROJECTED)))
    return made


def _settings(victim: Victim, optimizer: Any) -> dict[str, Any]:
    """Return what `gradient_ascent` is given, theirs or ours."""
    net, images, labels = victim
    given = {"model": net, "data": images, "target": labels, "optimizer": optimizer}
    return given | {"steps": STEPS, "epsilon": EPSILON, "lr": SIZE}


def _peer(name: str) -> Any:
    """Return the attack of another package, or None where that is missing."""
    module, _, attack = ENTRIES[name].rpartition(".")
    return found(module, attack)


def by_hand(victim: Victim) -> Tensor:
    """Return attacked images, by a loop as one writes it."""
    net, images, labels = victim
    moved = images.clone()
    for _ in range(STEPS):
        moved.requires_grad_()
        loss = cross_entropy(net(moved), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
        with torch.no_grad():
            delta = (moved + SIZE * gradient.sign() - images).clamp_(-EPSILON, EPSILON)
            moved = (images + delta).clamp_(0, 1)
    return moved
