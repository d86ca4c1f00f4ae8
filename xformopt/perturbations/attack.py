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
    radius,
    warn_of,
    zero_gradients,
)
from xformopt.perturbations.losses import check_loss
from xformopt.perturbations.modes import frozen, takes_float16
from xformopt.perturbations.problem import Ascent, Clean, Model, Problem
from xformopt.refused import Refused, RefusedType, check_count

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
        targets: towards how many classes it goes, one after the other, the likeliest first; 0: away
            from the label.
        restarts: how often the search begins anew.
        targeted: whether labels are the classes that images are to be taken for.
        seed: of what is drawn; the same seed gives the same answer.
        gradients: whether the search asks for gradients.
        draws: whether it draws where it begins; otherwise at the images as they are.
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
        self.search(problem)
        return problem.images + problem.worst

    def __call__(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Return images that are attacked, of the shape of those given."""
        check_images(images, labels)
        with frozen(*([model] if isinstance(model, nn.Module) else [])):
            return self._attacked(model, images.detach(), labels)

    def _attacked(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        batch = images.detach().requires_grad_()
        begins_there = not (self.draws or self.epsilon == 0 or takes_float16(images.device.type))
        with torch.set_grad_enabled(begins_there and self.gradients):
            told = model(batch).float()
        logits = told.detach()
        self.check(logits.shape[1], images.shape[1:].numel())
        self._warn_of_training(model)
        answer, losses = images.clone(), torch.full_like(logits[:, 0], -torch.inf)
        flat = torch.zeros_like(labels, dtype=torch.bool)
        left = ((logits.argmax(1) == labels) != self.targeted).nonzero()[:, 0]
        generator = Generator(images.device).manual_seed(self.seed)
        for towards in self._rounds() if self.epsilon else ():
            if not len(left):
                break
            problem = self._problem(model, images, labels, logits, left, towards, generator)
            if told.requires_grad:
                problem.clean, told = Clean(batch, told, left), logits
            self.search(problem)
            better = problem.broken | (problem.losses > losses[left])
            moved = images[left] + problem.worst
            answer[left] = torch.where(better.view(-1, 1, 1, 1), moved, answer[left])
            losses[left] = torch.maximum(losses[left], problem.losses)
            flat[left] = ~problem.has_gradient & problem.asked
            left = left[~problem.broken]
        if self.gradients:
            warn_of(zero_gradients(flat), ZeroGradients)
        return answer

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

    def _warn_of_training(self, model: Model) -> None:
        if isinstance(model, nn.Module) and model.training:
            said = "the model is in training mode: batch norm and dropout change with the batch"
            warn_of(said, TrainingMode)

    def __repr__(self) -> str:
        """Show name and radius."""
        return f"{self.name}(epsilon={self.epsilon:g})"
