"""Image classification."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.check import check_count
from experiments.models import small_cnn
from experiments.tasks import Goal

Images = tuple[Tensor, Tensor]
"""Images of shape `(N, C, H, W)` and their classes, shape `(N,)`."""


class Classification:
    """Trains a small network on images held in memory, judged by its accuracy on the test part."""

    goal = Goal("test_accuracy", "max")

    def __init__(self, name: str, train: Images, test: Images, batch_size: int) -> None:
        """Keep the data; `prepare` makes the model."""
        check_count("trainer.batch_size", batch_size)
        self.name = name
        self.train, self.test = train, test
        self.batch_size = min(batch_size, len(train[0]))

    def prepare(self, device: torch.device, seed: int) -> None:
        """Make the model and put it and the data on `device`."""
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed)
        images, labels = self.train
        classes = int(labels.max()) + 1
        self.model: nn.Module = small_cnn(images.shape[1], images.shape[-1], classes).to(device)
        self.train = (images.to(device), labels.to(device))
        self.test = (self.test[0].to(device), self.test[1].to(device))

    def steps(self, trainer: Any) -> tuple[int, int]:
        """Count the steps of `epochs`, unless `steps` says; evaluate once an epoch."""
        per_epoch = -(-len(self.train[0]) // self.batch_size)
        if trainer.steps is None and trainer.epochs is None:
            raise ValueError("`trainer.epochs` or `trainer.steps` must be given, got null for both")
        return trainer.steps or trainer.epochs * per_epoch, per_epoch

    def batches(self) -> Iterator[Images]:
        """Give shuffled batches, each image once an epoch."""
        images, labels = self.train
        while True:
            order = torch.randperm(len(images), generator=self.generator).to(images.device)
            for chosen in order.split(self.batch_size):
                yield images[chosen], labels[chosen]

    def loss(self, batch: Images) -> Tensor:
        """Return the mean cross-entropy of a batch."""
        self.model.train()
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return loss and accuracy on the test part."""
        self.model.eval()
        images, labels = self.test
        logits = torch.cat([self.model(part) for part in images.split(1000)])
        return {
            "test_loss": float(nn.functional.cross_entropy(logits, labels)),
            "test_accuracy": float((logits.argmax(1) == labels).float().mean()),
        }

    def draw(self, folder: Path) -> list[Path]:
        """Draw nothing more than the learning curves."""
        return []


def digits(batch_size: int) -> Classification:
    """Return scikit-learn's 1,797 real 8 × 8 digits, a fifth of each class held out for the test.

    Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, classes = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).div_(16).view(-1, 1, 8, 8)
    labels = torch.tensor(classes, dtype=torch.long)
    train, test = train_test_split(
        range(len(labels)), test_size=0.2, random_state=0, stratify=classes
    )
    return Classification(
        "digits", (images[train], labels[train]), (images[test], labels[test]), batch_size
    )
