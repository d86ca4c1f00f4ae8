"""What the launcher's loop costs: the seconds of its training beside those of a bare loop."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.bench.case import Case, Measured, ratio
from experiments.bench.clock import Times
from experiments.bench.process import python

EPOCHS = 5
BARE = f"""
import time, torch
from torch.nn.functional import cross_entropy
from experiments.data.digits import digits
from experiments.models.cnn import small_cnn
from xformopt import recipes
torch.set_num_threads(1)
torch.manual_seed(0)
data = digits()
mean, std = torch.tensor(data.mean).view(-1, 1, 1), torch.tensor(data.std).view(-1, 1, 1)
def ready(part):
    return (part.pixels.float() / 255 - mean) / std, part.labels
images, labels = ready(data.train)
valid_images, valid_labels = ready(data.valid)
model = small_cnn(data.shape, data.classes)
optim = recipes.build("clipped_adam", model, lr=1e-3)
start = time.perf_counter()
for epoch in range({EPOCHS}):
    for chosen in torch.randperm(len(labels)).split(64):
        optim.zero_grad()
        cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optim.step()
    model.eval()
    with torch.no_grad():
        logits = model(valid_images)
        float(cross_entropy(logits, valid_labels))
        float((logits.argmax(1) == valid_labels).float().mean())
    model.train()
print(time.perf_counter() - start)
"""
ENTRIES = {"launcher": "python -m experiments"}
FIGURES = [ratio("launcher", "bare", "training on digits over a bare loop", 1 / 0.97)]


def cases() -> Iterator[Case]:
    """Give the one case."""
    yield Case(
        "training",
        "digits",
        "",
        "",
        ENTRIES,
        FIGURES,
        lambda rounds, device: Measured(time_training(rounds), {}),
        cpu_only=True,
    )


def time_training(rounds: int) -> Times:
    """Return the seconds from the first step to the last evaluation, of each in each round."""
    times: Times = {"launcher": [], "bare": []}
    with TemporaryDirectory() as name:
        for i in range(rounds):
            folder = Path(name, str(i))
            command = ["-m", "experiments", f"trainer.epochs={EPOCHS}", "pictures=false"]
            python([*command, f"hydra.run.dir={folder}"], Path(name))
            last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
            times["launcher"].append(json.loads(last)["seconds"])
            times["bare"].append(float(python(["-c", BARE], Path(name))))
    return times
