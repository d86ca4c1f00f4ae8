"""The loss of a batch, against attacks where the trainer has any."""

from typing import Any

from torch import Generator, Tensor
from torch.optim import Optimizer

from experiments.adversarial.contract import Adversarial, Trained
from experiments.data.contract import Data
from experiments.data.draws import generator
from experiments.run.parts import Parts
from experiments.run.ranks import rank
from experiments.run.scaling import taking_several
from experiments.run.trainer import Trainer
from xformopt.refused import Refused, under

KEY, ATTACKING = "trainer.adversarial", "attack_seconds"


def adversary(trainer: Trainer, data: Data | None, optimizer: Optimizer) -> Adversarial | None:
    """Return what trains against attacks, as the data and the optimizer allow."""
    adversarial = trainer.adversarial
    if not (isinstance(adversarial, Adversarial) and data):
        return None
    with under(KEY):
        adversarial.check(data)
    several = taking_several(optimizer)
    if several and trainer.replays > 1:
        rule = (
            f"one that replays no batch, under {several}, which may take several gradients a step"
        )
        raise Refused(KEY, rule, type(adversarial).__name__)
    return adversarial


def drawn(parts: Parts) -> Generator | None:
    """Return what an attack draws from at this step, the same however often it is asked."""
    if parts.state.adversarial is None:
        return None
    return generator(parts.seed, "adversarial", parts.state.step, rank(), device=parts.device)


def loss(parts: Parts, piece: Any, numbers: Generator | None) -> Tensor:
    """Return the loss of a piece of a batch, for which an attack draws those numbers."""
    adversarial, state = parts.state.adversarial, parts.state
    if adversarial is None or numbers is None:
        return parts.task.loss(parts.trained, piece)
    trained = Trained(parts.task.loss, parts.trained, state.model, numbers)
    return adversarial.loss(trained, piece)


def figures(parts: Parts) -> dict[str, float]:
    """Return what is watched at an evaluation, and the time spent in attacks so far."""
    adversarial, data = parts.state.adversarial, parts.data
    if adversarial is None or data is None:
        return {}
    seconds = round(adversarial.clock.seconds(), 3)
    return {**adversarial.watch(parts.state.model, data), ATTACKING: seconds}


def said(parts: Parts) -> list[str]:
    """Return what has set in by now."""
    return parts.state.adversarial.remarks() if parts.state.adversarial else []


def remarks(parts: Parts) -> list[str]:
    """Return what should be known of training against attacks."""
    adversarial, state = parts.state.adversarial, parts.state
    if adversarial is None or not state.seconds:
        return []
    spent = adversarial.clock.seconds()
    if not spent:
        return said(parts)
    share = f"{spent:.1f} of {state.seconds:.1f} seconds of steps and evaluations"
    return [*said(parts), f"`{KEY}` took {share}, {spent / state.seconds:.0%}"]
