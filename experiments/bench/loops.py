"""The launcher's training, with telemetry and without, and a bare loop, in turn in one process.

`python -m experiments.bench.loops SET ROUNDS` prints the seconds of each, as JSON.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from hydra.core.global_hydra import GlobalHydra
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from experiments.__main__ import main
from experiments.bench.clock import Times
from experiments.data.contract import Data, Images
from experiments.data.digits import digits
from experiments.data.npz import npz
from experiments.models.cnn import cnn, small_cnn
from experiments.results.folder import read_metrics
from xformopt import recipes

BATCH = 64
WARM_UP = 1
"""Rounds that are not counted."""
FILE = "images.npz"
NOTHING_KEPT = ("trainer.checkpoint=none", "trainer.checkpoint_every=null", "pictures=false")
"""What a bare loop does not do either."""


class Set(NamedTuple):
    """Images and a network: in Python, and in the launcher's words."""

    data: Callable[[], Data]
    model: Callable[..., nn.Module]
    epochs: int
    words: tuple[str, ...] = ()


SETS = {
    "digits": Set(digits, small_cnn, 5),
    "32 × 32": Set(
        partial(npz, FILE),
        cnn,
        2,
        ("task=classification", "data=npz", f"data.file={FILE}", "model=cnn"),
    ),
}


def in_turn(of: Set, rounds: int) -> Times:
    """Return the seconds of each in each round; which goes first changes."""
    watched = partial(launched, also=("telemetry=true",))
    runs = {"launcher": launched, "bare": bare, "telemetry": watched}
    times: Times = {name: [] for name in runs}
    for i in range(WARM_UP + rounds):
        for name in sorted(runs, reverse=bool(i % 2)):
            seconds = runs[name](of, i)
            if i >= WARM_UP:
                times[name].append(seconds)
    return times


def launched(of: Set, number: int, also: tuple[str, ...] = ()) -> float:
    """Return the seconds of a run of the launcher, from its first evaluation to its last."""
    length = (f"trainer.epochs={of.epochs}", f"trainer.batch_size={BATCH}")
    folder = "-".join([str(number), *also])
    words = [*of.words, *length, *NOTHING_KEPT, *also, f"hydra.run.dir='{folder}'"]
    GlobalHydra.instance().clear()
    given, sys.argv = sys.argv, ["experiments", *words]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        status = main()
    sys.argv = given
    if status:
        raise RuntimeError(f"`python -m experiments {' '.join(words)}` failed")
    return read_metrics(Path(folder))[-1]["seconds"]


def bare(of: Set, seed: int) -> float:
    """Return the seconds of a loop as one writes it by hand, from and to the same evaluations."""
    torch.manual_seed(seed)
    data = of.data()
    mean, std = (torch.tensor(part).view(-1, 1, 1) for part in (data.mean, data.std))
    model = of.model(data.shape, data.classes)
    optimizer = recipes.build("clipped_adam", model, lr=1e-3)

    def answer(part: Images, chosen: Tensor | slice) -> tuple[Tensor, Tensor]:
        pixels = part.pixels[chosen].float().div_(255)
        return model((pixels - mean) / std), part.labels[chosen]

    def evaluate() -> None:
        model.eval()
        with torch.no_grad():
            logits, labels = answer(data.valid, slice(None))
            float(cross_entropy(logits, labels))
            float((logits.argmax(1) == labels).float().mean())
        model.train()

    start = perf_counter()
    evaluate()
    for _ in range(of.epochs):
        for chosen in torch.randperm(len(data.train)).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(*answer(data.train, chosen)).backward()
            optimizer.step()
        evaluate()
    return perf_counter() - start


def write_images() -> None:
    """Write 2,000 images of noise, 32 × 32 in colours, of ten classes."""
    drawn = np.random.default_rng(0)
    images = drawn.integers(0, 256, (2000, 3, 32, 32), dtype=np.uint8)
    np.savez(FILE, x=images, y=np.arange(2000) % 10)


if __name__ == "__main__":
    write_images()
    print(json.dumps(in_turn(SETS[sys.argv[1]], int(sys.argv[2]))))
