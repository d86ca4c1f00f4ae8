"""What a trained network takes for what."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from experiments.observers.contract import Observer, Run
from experiments.observers.figures import class_name, figure, grid, show_image, wrapped
from experiments.results.summary import Summary

ROWS, COLUMNS, NARROW = 4, 6, 3
"""So many of the worst images are shown; with fewer columns a title would have no room."""

COUNTED, NAMED = 15, 40
"""Up to so many classes, a matrix shows its numbers, and its classes by name."""

SHARES = (0, 0.01, 0.05, 0.2, 0.5, 1)
"""What is marked of a scale by roots, on which rare mistakes are seen too."""

Answers = Callable[[nn.Module], tuple[Tensor, Tensor]]
"""Gives a network's logits of test images, shape `(N, classes)`, and their labels, `(N,)`."""


class Mistakes(Observer):
    """Draws `confusion.png`, and `worst.png`: the images that were taken most surely for others."""

    draws = False

    def __init__(
        self, answers: Answers, pixels: Callable[[Tensor], Tensor], names: Sequence[str]
    ) -> None:
        """Take how a network answers, what the images with some numbers are, and the classes."""
        self.answers, self.pixels, self.names = answers, pixels, names

    def start(self, run: Run) -> None:
        """Note the run."""
        self.run = run

    def end(self, summary: Summary) -> None:
        """Draw what the last weights of a finished run answer."""
        if summary.status != "finished":
            return
        with self.run.precision():
            logits, labels = (tensor.cpu() for tensor in self.answers(self.run.model))
        self._draw_confusion(confusion(logits.argmax(1), labels, logits.shape[1]))
        self._draw_worst(logits, labels)

    def _draw_confusion(self, counts: Tensor) -> None:
        occur = (counts.sum(0) + counts.sum(1)).nonzero()[:, 0]
        counts = counts[occur][:, occur]
        classes = len(counts)
        side = min(9.0, 3.4 + 0.42 * min(classes, NAMED))
        shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
        with figure(self.run.folder / "confusion.png", (side + 1, side)) as (drawn, (axis,)):
            shown = axis.imshow(shares.sqrt().numpy(), cmap="Blues", vmin=0, vmax=1)
            bar = drawn.colorbar(shown, label="share of the true class")
            bar.set_ticks([share**0.5 for share in SHARES], labels=[f"{s:.0%}" for s in SHARES])
            if classes <= NAMED:
                names = [class_name(i, self.names) for i in occur.tolist()]
                upright = max(map(len, names)) > 2
                axis.set_xticks(range(classes), names, rotation=90 if upright else 0)
                axis.set_yticks(range(classes), names)
            if classes <= COUNTED:
                for (true, taken), count in _entries(counts):
                    color = "white" if shares[true, taken] > 0.3 else "black"
                    axis.text(taken, true, count, ha="center", va="center", color=color, size=7)
            title = wrapped(f"{self.run.title}, test, last weights", drawn)
            axis.set(xlabel="taken for", ylabel="true class", title=title)

    def _draw_worst(self, logits: Tensor, labels: Tensor) -> None:
        chosen, sure = worst(logits, labels, ROWS * COLUMNS)
        if not len(chosen):
            return
        path, taken = self.run.folder / "worst.png", logits[chosen].argmax(1)
        columns = min(COLUMNS, max(NARROW, len(chosen)))
        with grid(path, -(-len(chosen) // columns), columns) as (drawn, axes):
            for axis in axes:
                axis.axis("off")
            for axis, image, number, other, share in zip(
                axes, self.pixels(chosen), chosen, taken, sure, strict=False
            ):
                show_image(axis, image.cpu())
                true = class_name(int(labels[number]), self.names)
                axis.set_title(
                    f"{true} → {class_name(int(other), self.names)}\n{share:.0%}", size=8
                )
            title = f"{self.run.title}, test, last weights: true class → taken for, how surely"
            drawn.suptitle(wrapped(title, drawn, 9), size=9)


def confusion(taken: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return how many images of each class, a row, were taken for each.

    >>> import torch
    >>> confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), classes=2)
    tensor([[1, 1],
            [0, 1]])
    """
    return (labels * classes + taken).bincount(minlength=classes**2).view(classes, classes)


def worst(logits: Tensor, labels: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return which images were taken for others, the surest first, and the shares of those.

    >>> import torch
    >>> worst(torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 3.0]]), torch.tensor([0, 0, 0]), 5)
    (tensor([2, 1]), tensor([0.9526, 0.8808]))
    """
    sure, taken = logits.softmax(1).max(1)
    wrong = (taken != labels).nonzero()[:, 0]
    order = sure[wrong].argsort(descending=True, stable=True)[:most]
    return wrong[order], sure[wrong[order]]


def _entries(counts: Tensor) -> list[tuple[tuple[int, int], int]]:
    rows = counts.tolist()
    return [((i, j), n) for i, row in enumerate(rows) for j, n in enumerate(row) if n]
