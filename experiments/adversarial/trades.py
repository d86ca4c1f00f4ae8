"""Training for answers that stay what they are around each image."""

from math import inf

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from experiments import register
from experiments.adversarial.contract import Adversarial, Trained
from experiments.data.batches import Batch
from experiments.data.contract import Data
from xformopt import transforms as T
from xformopt.perturbations import evaluating, pgd_linf
from xformopt.perturbations.pgd import climb
from xformopt.perturbations.problem import Ascent
from xformopt.refused import Refused

START = 1e-3
"""The deviation of the start, since the gradient is zero at the image itself."""


class Trades(Adversarial):
    """Minimises loss(f(x), y) + beta · max KL(p(x) ‖ p(x')) over ‖x' - x‖∞ <= epsilon.

    The attack asks the network as it evaluates; batch norm then averages the moments of clean and
    of attacked images.

    Args:
        epsilon: the radius in l∞, as 0.03 or 8/255.
        beta: how much answers that change count; 6 for CIFAR-10 there.
        steps: the number of steps of the attack.
        step_size: the length of each; None: 2.5 epsilon / steps.

    Source: Zhang et al. 2019, Theoretically principled trade-off between robustness and accuracy,
    ICML.
    """

    def __init__(
        self,
        epsilon: float | str = "8/255",
        beta: float = 6.0,
        steps: int = 10,
        step_size: float | str | None = None,
    ) -> None:
        """Keep the settings."""
        super().__init__()
        if isinstance(beta, bool) or not isinstance(beta, int | float) or not 0 <= beta < inf:
            raise Refused("beta", "a finite number >= 0", beta)
        self.beta = beta
        self.attack = pgd_linf(epsilon=epsilon, steps=steps, step_size=step_size)

    def loss(self, trained: Trained, batch: Batch) -> Tensor:
        """Return the loss on clean images, and how far answers around them are from theirs."""
        answers: list[Tensor] = []

        def answering(asked: Tensor) -> Tensor:
            answers.append(trained.called(asked))
            return answers[-1]

        with self.clock, evaluating(trained.model):
            moved = self._moved(trained, batch)
        clean = trained.loss(answering, batch)
        attacked = trained.called(moved)
        return clean + self.beta * _divergence(attacked, answers[0]).mean()

    def check(self, data: Data) -> None:
        """Refuse a ball that holds all images, or such a step."""
        self.attack.check(data.classes, data.shape.numel())

    def _moved(self, trained: Trained, batch: Batch) -> Tensor:
        images, labels = batch
        with torch.no_grad():
            clean = trained.model(images).float()
        problem = Ascent(
            trained.model,
            images,
            labels,
            norm="linf",
            epsilon=self.attack.epsilon,
            loss=lambda logits, *_: _divergence(logits, clean),
            generator=trained.generator,
        )
        start = torch.empty_like(images).normal_(std=START, generator=trained.generator)
        problem.project_(start)
        steps, size = (self.attack.settings[key] for key in ("steps", "step_size"))
        climb(problem, start, [T.sign()], steps, size)
        return problem.images + problem.worst


register.adversarial(Trades, name="trades")


def _divergence(logits: Tensor, clean: Tensor) -> Tensor:
    """Return KL(p ‖ p') of the answers to clean and to moved images, `(N,)`.

    >>> _divergence(torch.zeros(1, 2), torch.zeros(1, 2))
    tensor([0.])
    """
    own, other = (x.float().log_softmax(1) for x in (logits, clean))
    return kl_div(own, other, reduction="none", log_target=True).sum(1)
