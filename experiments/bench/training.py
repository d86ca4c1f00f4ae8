"""What the launcher's loop costs: the seconds of its training beside those of a bare loop."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch

from experiments.bench.case import Case, Measured, ratio
from experiments.bench.clock import Times
from experiments.bench.process import python

BARE = """
import sys, time, torch
from torch.nn.functional import cross_entropy
from experiments.data.digits import digits
from experiments.data.npz import npz
from experiments.models.cnn import cnn, small_cnn
from xformopt import recipes
torch.set_num_threads(1)
torch.manual_seed(0)
data, make, epochs = eval(sys.argv[1]), eval(sys.argv[2]), int(sys.argv[3])
mean, std = torch.tensor(data.mean).view(-1, 1, 1), torch.tensor(data.std).view(-1, 1, 1)
def ready(part):
    return (part.pixels.float() / 255 - mean) / std, part.labels
images, labels = ready(data.train)
valid_images, valid_labels = ready(data.valid)
model = make(data.shape, data.classes)
optim = recipes.build("clipped_adam", model, lr=1e-3)
def evaluate():
    model.eval()
    with torch.no_grad():
        logits = model(valid_images)
        float(cross_entropy(logits, valid_labels))
        float((logits.argmax(1) == valid_labels).float().mean())
    model.train()
start = time.perf_counter()
evaluate()
for epoch in range(epochs):
    for chosen in torch.randperm(len(labels)).split(64):
        optim.zero_grad()
        cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optim.step()
    evaluate()
print(time.perf_counter() - start)
"""
ENTRIES = {"launcher": "python -m experiments"}
NOTHING_KEPT = ("trainer.checkpoint=none", "trainer.checkpoint_every=null", "pictures=false")
"""What a bare loop does not do either."""

LEAST = 0.97
"""The throughput that the launcher is to have, of that of a bare loop."""


class Set(NamedTuple):
    """Images and a network: in words, and in the launcher's."""

    data: str
    model: str
    epochs: int
    chosen: tuple[str, ...]


SETS = {
    "digits": Set("digits()", "small_cnn", 5, ()),
    "32 × 32": Set(
        "npz('images.npz')",
        "cnn",
        2,
        ("task=classification", "data=npz", "data.file=images.npz", "model=cnn"),
    ),
}


def cases() -> Iterator[Case]:
    """Give a case a set."""
    for name, of in SETS.items():
        yield Case(
            "training",
            name,
            "",
            "",
            ENTRIES,
            [ratio("launcher", "bare", f"training on {name} over a bare loop", 1 / LEAST)],
            partial(_measured, of),
            cpu_only=True,
        )


def _measured(of: Set, rounds: int, device: torch.device) -> Measured:
    return Measured(time_training(rounds, of), {})


def time_training(rounds: int, of: Set) -> Times:
    """Return the seconds from the first step to the last evaluation, of each in each round."""
    times: Times = {"launcher": [], "bare": []}
    with TemporaryDirectory() as name:
        write_images(Path(name, "images.npz"))
        for i in range(rounds):
            length = [f"trainer.epochs={of.epochs}", "trainer.batch_size=64"]
            command = ["-m", "experiments", *of.chosen, *length, *NOTHING_KEPT]
            command.append(f"hydra.run.dir={i}")
            python(command, Path(name))
            last = Path(name, str(i), "metrics.jsonl").read_text().splitlines()[-1]
            times["launcher"].append(json.loads(last)["seconds"])
            bare = ["-c", BARE, of.data, of.model, str(of.epochs)]
            times["bare"].append(float(python(bare, Path(name))))
    return times


def write_images(path: Path) -> None:
    """Write 2,000 images of noise, 32 × 32 in colours, of ten classes."""
    drawn = np.random.default_rng(0)
    images = drawn.integers(0, 256, (2000, 3, 32, 32), dtype=np.uint8)
    np.savez(path, x=images, y=np.arange(2000) % 10)
