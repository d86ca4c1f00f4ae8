"""What a model is judged under: as they are, attacked by a radius, or corrupted, are images."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from experiments.data.batches import Batch
from experiments.data.contract import Images
from experiments.data.draws import generator
from xformopt.perturbations import CORRUPTIONS, Attack
from xformopt.perturbations.worst import WorstOf

Change = Callable[[nn.Module, Tensor, Tensor, int], Tensor]
"""Gives images in the place of some, of a model and their labels; the batch has a number."""


class Condition(NamedTuple):
    """What is done to images before a model is asked.

    `kind` is clean, attack or corruption; `level` the radius of an attack, or the severity of a
    corruption; `settings` are what else a figure depends on; `images` gives `size` images
    in the place of those of the part, where files hold them. `norm` is that of an attack, which may
    ask for no gradients.
    """

    kind: str
    name: str
    level: float
    settings: Mapping[str, Any]
    change: Change
    images: Callable[[], Images] | None = None
    size: int | None = None
    norm: str = ""
    gradients: bool = True

    @property
    def label(self) -> str:
        """Return what it is called, with its level."""
        return f"{self.name} {self.level:.4g}"

    def of(self, images: Images) -> Images:
        """Return the images that are taken, in the place of those of a part."""
        return images if self.images is None else self.images()

    def count(self, images: Images) -> int:
        """Return how many images are taken."""
        return len(images) if self.size is None else self.size

    def batches(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Give images as they are changed, with their labels."""
        for number, (images, labels) in enumerate(batches):
            yield self.change(model, images, labels, number), labels


CLEAN = Condition("clean", "clean", 0.0, {}, lambda model, images, labels, number: images)


def attacked(name: str, attack: Attack | WorstOf, epsilon: float | str) -> Condition:
    """Return the condition of an attack of a radius."""
    at = attack.at(epsilon)

    def change(model: nn.Module, images: Tensor, labels: Tensor, number: int) -> Tensor:
        return at(model, images, labels)

    about = {"norm": attack.norm, "gradients": attack.gradients}
    return Condition("attack", name, at.epsilon, dict(attack.settings), change, **about)


def corrupted(name: str, severity: int) -> Condition:
    """Return the condition of a C-like corruption, which draws the same in each run."""

    def change(model: nn.Module, images: Tensor, labels: Tensor, number: int) -> Tensor:
        drawn = generator(0, name, severity, number, device=images.device)
        return CORRUPTIONS[name](images, severity, drawn)

    return Condition("corruption", name, severity, {}, change)


def of_files(
    name: str, severity: int, images: Callable[[], Images], size: int, folder: str
) -> Condition:
    """Return the condition of images that were corrupted by others, and lie in files."""
    settings = {"files": folder}
    return Condition("corruption", name, severity, settings, CLEAN.change, images, size)
