"""Images before and after an attack, and what they are taken for."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from experiments.observers.contract import Observer, Run
from experiments.observers.figures import class_name, grid, show_image, wrapped
from experiments.results.summary import Summary


class Examples(NamedTuple):
    """Some images in [0, 1], the same attacked, their labels, and the answers to both."""

    images: Tensor
    attacked: Tensor
    labels: Tensor
    before: Tensor
    after: Tensor


class Attacked(Observer):
    """Draws `attacked.png`: images, what an attack adds to them, and what they become."""

    draws = False

    def __init__(
        self, attack: str, examples: Callable[[nn.Module], Examples], names: Sequence[str]
    ) -> None:
        """Take what the attack is called, what attacks some images, and the names of classes."""
        self.attack, self.examples, self.names = attack, examples, names

    def start(self, run: Run) -> None:
        """Note the run."""
        self.run = run

    def end(self, summary: Summary) -> None:
        """Draw images that the last weights of a finished run take rightly, attacked."""
        if summary.status != "finished":
            return
        with self.run.precision():
            shown = Examples(*(held.cpu() for held in self.examples(self.run.model)))
        if not len(shown.images):
            return
        columns, added = len(shown.images), shown.attacked - shown.images
        scale = float(added.abs().max()) or 1.0
        rows = [*shown.images, *(0.5 + added / (2 * scale)), *shown.attacked]
        true, before, after = (
            [class_name(int(taken), self.names) for taken in answers]
            for answers in (shown.labels, shown.before, shown.after)
        )
        before = [x if x == y else f"{x}, is {y}" for x, y in zip(before, true, strict=True)]
        titles = [*before, *[""] * columns, *after]
        with grid(self.run.folder / "attacked.png", 3, columns) as (drawn, axes):
            for axis, image, title in zip(axes, rows, titles, strict=True):
                axis.axis("off")
                show_image(axis, (255 * image).round().byte())
                axis.set_title(title, size=8)
            said = f"{self.run.title}, test, last weights: {self.attack}"
            middle = f"what is added, from black, {-scale:.2g}, to white, {scale:.2g}"
            note = f"above: taken for; middle: {middle}; below: attacked"
            drawn.suptitle("\n".join(wrapped(line, drawn, 9) for line in (said, note)), size=9)
