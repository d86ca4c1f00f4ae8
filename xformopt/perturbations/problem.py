"""What an attack searches: a perturbation in a ball around each image, and in the box of pixels."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from xformopt.geometry import BALLS
from xformopt.optim.batching import batch_shape, batched
from xformopt.perturbations.losses import LOSSES, Loss
from xformopt.perturbations.modes import Model, without_float16
from xformopt.perturbations.starts import (
    uniform_like_l1_n_ball_,
    uniform_like_l2_n_ball_,
    uniform_like_linf_n_ball_,
)
from xformopt.transforms.items import at_least_float32

STARTS = {
    "l1": uniform_like_l1_n_ball_,
    "l2": uniform_like_l2_n_ball_,
    "linf": uniform_like_linf_n_ball_,
}
"""What draws a point of a ball; in one without, a start is the image itself."""

Which = Tensor | slice
"""Some of the images, by their indices, or all."""
ALL = slice(None)


def tiny(x: Tensor) -> float:
    """Return the least size of a perturbation by which is divided."""
    return torch.finfo(x.dtype).tiny


class Clean(NamedTuple):
    """What a model said of a batch as it is, before a search that begins there."""

    still: Tensor
    """The perturbation that moves nothing, of which the gradient is asked."""
    logits: Tensor
    """What it said, with the graph."""
    left: Tensor
    """Which of the batch are the images of the problem."""


class Problem:
    """Some images, the set in which each may be moved, and the worst of what was tried.

    The set is {δ : ‖δ‖ <= epsilon, 0 <= x + δ <= 1}. Of what was tried, that is kept which is taken
    for another class, and has the largest loss among such.

    Args:
        model: gives the logits of images in [0, 1].
        images: of shape `(N, C, H, W)`.
        labels: their classes, `(N,)`.
        norm: a name of `xformopt.geometry.BALLS`.
        epsilon: the radius.
        loss: what is made large, a name of `LOSSES` or such a function.
        targets: the classes that images are moved towards; None: away from their labels.
        targeted: whether only an image that is taken for its target is broken.
        generator: what numbers are drawn from.
    """

    def __init__(
        self,
        model: Model,
        images: Tensor,
        labels: Tensor,
        *,
        norm: str,
        epsilon: float,
        loss: str | Loss,
        generator: Generator,
        targets: Tensor | None = None,
        targeted: bool = False,
    ) -> None:
        """Take what is given; nothing was tried yet."""
        self.model, self.images, self.labels, self.targets = model, images, labels, targets
        self.norm, self.epsilon, self.generator = norm, epsilon, generator
        self.loss = LOSSES[loss] if isinstance(loss, str) else loss
        self.targeted = targeted
        self.low, self.high = -images, 1 - images
        self.worst = torch.zeros_like(images)
        self.losses = images.new_full((len(images),), -torch.inf, dtype=torch.float32)
        self.broken = torch.zeros_like(labels, dtype=torch.bool)
        self.has_gradient, self.asked = torch.zeros_like(self.broken), False
        self.clean: Clean | None = None

    def tried(self, delta: Tensor, which: Which = ALL) -> Tensor:
        """Return the losses of images moved so, and keep the worst; `delta` is of `which` alone."""
        return self._judged(delta, self.model(self.images[which] + delta), which)

    def left(self) -> Tensor:
        """Return which images are not broken yet."""
        return (~self.broken).nonzero()[:, 0]

    @torch.no_grad()
    def end(self, delta: Tensor) -> None:
        """Try the last point of a search, of the images that it has not broken."""
        if len(left := self.left()):
            self.tried(delta[left], left)

    def ascent(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses and their gradient, in float32 where float16 would lose it."""
        with torch.enable_grad(), without_float16(delta.device.type):
            losses, gradient = self._climbed(delta)
        if not self.asked:
            self.has_gradient, self.asked = gradient.flatten(1).any(1), True
        return losses.detach(), gradient

    def _climbed(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        clean, self.clean = self.clean, None
        if clean is None or delta.any():
            point = delta.detach().requires_grad_()
            losses = self.tried(point)
            return losses, torch.autograd.grad(losses.sum(), point)[0]
        losses = self._judged(delta, clean.logits[clean.left], ALL)
        return losses, torch.autograd.grad(losses.sum(), clean.still)[0][clean.left]

    @torch.no_grad()
    def start(self, *, random: bool = True) -> Tensor:
        """Return a point of the set that is drawn, or the images as they are."""
        delta = torch.zeros_like(self.images)
        if random and self.norm in STARTS:
            STARTS[self.norm](delta, self.epsilon, -1, self.generator)
            self.project_(delta)
        return delta

    @torch.no_grad()
    def project_(self, delta: Tensor, which: Which = ALL) -> None:
        """Move perturbations, or those of some, into the set in place: onto the ball, then the box.

        The box holds 0, so that its projection makes no entry larger, and no norm of entries. That
        of singular values may grow; it is scaled down, towards 0, which stays in the box.
        """
        ball = BALLS[self.norm]
        shape = batch_shape(delta.shape, ball.param_ndim)
        with batched([delta], [shape]) as (batch,):
            ball.project.fn(batch, radius=self.epsilon)
        torch.clamp(delta, self.low[which], self.high[which], out=delta)
        if self.norm == "nuclear":
            wide = delta.to(at_least_float32(delta.dtype))
            sizes = torch.linalg.matrix_norm(wide, "nuc")[..., None, None]
            delta.mul_((self.epsilon / sizes.clamp_min(tiny(wide))).clamp_max(1.0))

    def _judged(self, delta: Tensor, logits: Tensor, which: Which) -> Tensor:
        labels, logits = self.labels[which], logits.float()
        targets = None if self.targets is None else self.targets[which]
        losses = self.loss(logits, labels, targets)
        taken = logits.detach().argmax(1)
        broken = taken == targets if self.targeted else taken != labels
        self._keep(delta.detach(), broken, losses.detach().float(), which)
        return losses

    @torch.no_grad()
    def _keep(self, delta: Tensor, broken: Tensor, losses: Tensor, which: Which) -> None:
        wins = self._wins(broken, losses, which)
        self.worst[which] = torch.where(wins.view(-1, 1, 1, 1), delta, self.worst[which])
        self.losses[which] = torch.where(wins, losses, self.losses[which])
        self.broken[which] |= broken

    def _wins(self, broken: Tensor, losses: Tensor, which: Which) -> Tensor:
        """Return where some images are worse than they were: broken now, or as before with more."""
        return torch.where(broken == self.broken[which], losses > self.losses[which], broken)


class Ascent(Problem):
    """The same for training, where no image is ever left out: the point that a search ends at.

    Of a search without an end, it is that of the largest loss.
    """

    def left(self) -> Tensor:
        """Return all images."""
        return torch.arange(len(self.images), device=self.images.device)

    def end(self, delta: Tensor) -> None:
        """Take the last point, without asking the model."""
        self.worst = delta.detach()

    def _wins(self, broken: Tensor, losses: Tensor, which: Which) -> Tensor:
        return losses > self.losses[which]
