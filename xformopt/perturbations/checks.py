"""What an attack must be given, and why its answer may say too much of a model's robustness."""

import warnings
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from xformopt.geometry import BALLS
from xformopt.perturbations.modes import Model
from xformopt.refused import Refused, RefusedType

DIMENSIONS = {"linf": 0.0, "l2": 0.5, "l1": 1.0}
"""The size of the box in a norm is the number of entries to this power."""


class AttackWarning(UserWarning):
    """Why the answer of an attack may say too much."""


class ZeroGradients(AttackWarning):
    """No direction was found in which to attack."""


class MaskedGradients(AttackWarning):
    """An attack that asks for no gradient breaks what others leave."""


class TrainingMode(AttackWarning):
    """What the model answers depends on the batch."""


def radius(epsilon: Any, norm: str) -> float:
    """Return the radius of a ball as a number; it may be given as a fraction, as papers do.

    >>> radius("8/255", "linf")
    0.03137254901960784
    """
    if norm not in BALLS:
        raise Refused("norm", f"one of {', '.join(BALLS)}", norm)
    found = number(epsilon)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise RefusedType("epsilon", "a number >= 0, or a fraction as '8/255'", epsilon)
    if not 0 <= found < float("inf"):
        raise Refused("epsilon", "a finite number >= 0", epsilon)
    return float(found)


def check_fits(length: float, norm: str, entries: int, key: str = "epsilon") -> None:
    """Refuse a radius or step by which the ball holds all images, whose pixels lie in [0, 1]."""
    size = entries ** DIMENSIONS[norm] if norm in DIMENSIONS else length
    if length > size:
        rule = f"at most {size:g}, by which the {norm} ball holds all images; pixels are in [0, 1]"
        raise Refused(key, rule, length)


def check_images(images: Tensor, labels: Tensor) -> None:
    """Refuse what are no images, or no labels of them."""
    check_pixels(images)
    is_tensor = isinstance(labels, Tensor)
    if not is_tensor or labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        got = f"{labels.dtype} of shape {tuple(labels.shape)}" if is_tensor else labels
        raise Refused(f"`labels` must be int64, a class an image, ({len(images)},), got {got}")


def check_labels(labels: Tensor, classes: int) -> None:
    """Refuse labels of which there is no output.

    >>> check_labels(torch.tensor([0, 9]), 10)
    """
    low, high = labels.aminmax() if labels.numel() else (0, 0)
    if not (low >= 0 and high < classes):
        rule = f"`labels` must be from 0 to {classes - 1}, an output of the model each"
        raise Refused(f"{rule}, got {int(low)} to {int(high)}")


def check_pixels(images: Tensor) -> None:
    """Refuse what are no images, `(N, C, H, W)`, in [0, 1].

    >>> check_pixels(torch.rand(2, 3, 8, 8))
    """
    if not images.is_floating_point() or images.ndim != 4:
        got = f"{images.dtype} of shape {tuple(images.shape)}"
        raise Refused(f"`images` must be floating, (N, C, H, W), in [0, 1], got {got}")
    low, high = images.aminmax() if images.numel() else (0, 1)
    if not (low >= 0 and high <= 1):
        raise Refused(f"`images` must lie in [0, 1], got entries from {low:g} to {high:g}")


@torch.no_grad()
def remarks(model: Model, images: Tensor) -> list[str]:
    """Return why attacks on a model may say too much: random outputs, or probabilities.

    >>> remarks(lambda x: x.flatten(1).softmax(1), torch.rand(2, 1, 1, 3))
    ['the outputs are probabilities, whose gradients vanish where it is sure: attack the logits']

    Source: Croce et al. 2022, Evaluating the adversarial robustness of adaptive test-time defenses,
    ICML; the checks of the authors of AutoAttack.
    """
    first, again = model(images), model(images)
    found = []
    if not torch.equal(first, again):
        found.append("the outputs are random: attack their mean, or fix what is drawn")
    sums = first.sum(1)
    if first.min() >= 0 and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        found.append(
            "the outputs are probabilities, whose gradients vanish where it is sure: attack the "
            "logits"
        )
    return found


def zero_gradients(flat: Tensor) -> str:
    """Return what is said of images whose gradient was zero where a search began."""
    count = int(flat.sum())
    if not count:
        return ""
    return f"the gradient was zero for {count} of {len(flat)} images: try another loss, or square"


def number(said: Any) -> Any:
    """Return what stands in a text of a number or fraction; all else as it is.

    >>> number("2/255"), number("sign")
    (0.00784313725490196, 'sign')
    """
    try:
        return float(Fraction(said)) if isinstance(said, str) else said
    except (ValueError, ZeroDivisionError):
        return said


def warn_of(said: str, kind: type[AttackWarning], above: int = 2) -> None:
    """Warn, where something is said, at the line that called so many functions above."""
    if said:
        warnings.warn(said, kind, stacklevel=1 + above)
