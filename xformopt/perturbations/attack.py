"""An attack: searches, around each image, one that a model takes for another class."""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any

import torch
from torch import Generator, Tensor, nn

from xformopt.perturbations.checks import (
    TrainingMode,
    ZeroGradients,
    check_fits,
    check_images,
    check_labels,
    radius,
    warn_of,
    zero_gradients,
)
from xformopt.perturbations.losses import check_loss
from xformopt.perturbations.modes import frozen, takes_float16
from xformopt.perturbations.problem import Ascent, Clean, Model, Problem
from xformopt.refused import Refused, RefusedType, check_count

MOST = 2 / 3
"""Where more of the images are left, the gradient of all costs less than to ask anew."""

Search = Callable[[Problem], None]
"""Tries perturbations of the images of a problem, which keeps the worst."""


class Attack:
    """Returns images in a ball around given ones, and in [0, 1], that a model misclassifies.

    ‖x' - x‖ <= epsilon, 0 <= x' <= 1

    Images that are misclassified as they are stay so, and what a restart has broken is not attacked
    again. Where nothing is found, that of the largest loss is returned. Parameters of a module are
    frozen meanwhile; its mode is left, with a warning where it trains.

    Args:
        search: how perturbations are tried.
        norm: that of the ball, a name of `xformopt.geometry.BALLS`.
        epsilon: the radius, in units of pixels in [0, 1], as 0.03 or '8/255'; `nuclear` is that of
            each channel.
        loss: what is made large: `ce`, `dlr` or `margin`.
        targets: towards how many classes it goes, fewer than there are, one after the other, the
            likeliest first; 0: away from the label.
        restarts: how often the search begins anew.
        targeted: whether labels are the classes that images are to be taken for.
        seed: of what is drawn; the same seed gives the same answer.
        gradients: whether the search asks for gradients.
        draws: whether it draws anything; if not, what the model says of the images as they are
            serves a first gradient there.
        name: what it is called.
        settings: all but the radius, by which two attacks of a name are told apart.

    Raises:
        Refused: for a setting out of its range, or images that are none.
    """

    def __init__(
        self,
        search: Search,
        *,
        norm: str,
        epsilon: float | str,
        loss: str = "ce",
        targets: int = 0,
        restarts: int = 1,
        targeted: bool = False,
        seed: int = 0,
        gradients: bool = True,
        draws: bool = True,
        name: str = "attack",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the settings and keep them."""
        self.epsilon = radius(epsilon, norm)
        check_loss(loss)
        check_count("targets", targets, least=0)
        check_count("restarts", restarts)
        check_count("seed", seed, least=0)
        if not isinstance(targeted, bool):
            raise RefusedType("targeted", "true or false", targeted)
        if targeted and targets:
            raise Refused("targets", "0 where the labels are the targets", targets)
        self.search, self.norm, self.loss, self.settings = search, norm, loss, settings or {}
        self.targets, self.restarts, self.targeted, self.seed = targets, restarts, targeted, seed
        self.gradients, self.draws, self.name = gradients, draws, name

    def at(self, epsilon: float | str) -> "Attack":
        """Return the same attack with another radius."""
        other = copy(self)
        other.epsilon = radius(epsilon, self.norm)
        return other

    def check(self, classes: int, entries: int) -> None:
        """Refuse a loss that needs more classes, and a ball that holds all images of a size."""
        check_loss(self.loss, classes, targeted=bool(self.targeted or self.targets))
        check_fits(self.epsilon, self.norm, entries)
        if (step := self.settings.get("step_size")) is not None:
            check_fits(step, self.norm, entries, "step_size")
        if self.targets >= classes:
            raise Refused("targets", f"less than the number of classes, {classes}", self.targets)

    def ascend(self, model: Model, images: Tensor, labels: Tensor, generator: Generator) -> Tensor:
        """Return images moved by one search, misclassified ones too, as training takes them.

        Nothing is judged, and nothing is drawn but from the generator.
        """
        if not self.epsilon:
            return images.detach()
        problem = Ascent(
            model,
            images.detach(),
            labels,
            norm=self.norm,
            epsilon=self.epsilon,
            loss=self.loss,
            generator=generator,
        )
        with torch.inference_mode(False):
            self.search(problem)
            return problem.images + problem.worst

    def __call__(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Return images that are attacked, of the shape of those given."""
        check_images(images, labels)
        if isinstance(model, nn.Module) and model.training:
            said = "the model is in training mode: batch norm and dropout change with the batch"
            warn_of(said, TrainingMode)
        modules = [model] if isinstance(model, nn.Module) else []
        with torch.inference_mode(False), frozen(*modules):
            return self._attacked(model, images.detach(), labels)

    def _attacked(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        still, serves = torch.zeros_like(images), self._begins_there(images.device.type)
        with torch.set_grad_enabled(serves):
            told = model(images + still.requires_grad_(serves)).float()
        logits = told.detach()
        self.check(logits.shape[1], images.shape[1:].numel())
        check_labels(labels, logits.shape[1])
        answer, losses = images.clone(), torch.full_like(logits[:, 0], -torch.inf)
        flat = torch.zeros_like(labels, dtype=torch.bool)
        left = ((logits.argmax(1) == labels) != self.targeted).nonzero()[:, 0]
        generator = Generator(images.device).manual_seed(self.seed)
        for towards in self._rounds() if self.epsilon else ():
            if not len(left):
                break
            problem = self._problem(model, images, labels, logits, left, towards, generator)
            if told.requires_grad and len(left) > MOST * len(images):
                problem.clean = Clean(still, told, left)
            told = logits  # whose graph has served
            self.search(problem)
            better = problem.broken | (problem.losses > losses[left])
            moved = images[left] + problem.worst
            answer[left] = torch.where(better.view(-1, 1, 1, 1), moved, answer[left])
            losses[left] = torch.maximum(losses[left], problem.losses)
            flat[left] = ~problem.has_gradient & problem.asked & ~problem.broken
            left = left[~problem.broken]
        if self.gradients:
            warn_of(zero_gradients(flat), ZeroGradients, above=3)
        return answer

    def _begins_there(self, device: str) -> bool:
        """Return whether the first gradient is asked for at the images as they are."""
        return self.gradients and self.epsilon > 0 and not (self.draws or takes_float16(device))

    def _rounds(self) -> Iterator[int]:
        """Give which class each search goes towards, by its rank; 0: away from the label."""
        for _ in range(self.restarts):
            yield from range(1, 1 + self.targets) if self.targets else (0,)

    def _problem(
        self,
        model: Model,
        images: Tensor,
        labels: Tensor,
        logits: Tensor,
        left: Tensor,
        towards: int,
        generator: Generator,
    ) -> Problem:
        logits, labels, targets = logits[left], labels[left], None
        if self.targeted:
            labels, targets = logits.argmax(1), labels
        elif towards:
            others = logits.scatter(1, labels[:, None], -torch.inf)
            targets = others.argsort(1, descending=True)[:, towards - 1]
        return Problem(
            model,
            images[left],
            labels,
            norm=self.norm,
            epsilon=self.epsilon,
            loss=self.loss,
            targets=targets,
            targeted=self.targeted,
            generator=generator,
        )

    def __repr__(self) -> str:
        """Show name and radius."""
        return f"{self.name}(epsilon={self.epsilon:g})"
