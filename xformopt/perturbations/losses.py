"""What an attack makes large: of logits, shape `(N, classes)`, and labels, a number an image."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from xformopt.refused import Refused

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Of logits, true labels, and the classes to move towards, where there are such: `(N,)`."""


def ce(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return the cross-entropy; towards targets, the negative of theirs.

    >>> ce(torch.zeros(1, 2), torch.tensor([0]))
    tensor([0.6931])
    """
    if targets is None:
        return cross_entropy(logits, labels, reduction="none")
    return -cross_entropy(logits, targets, reduction="none")


def margin(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return max z_k - z_y over the other classes, above 0 where an image is misclassified.

    Towards a target t it is z_t - max z_k over the classes beside t.

    >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
    tensor([-1.])

    Source: Carlini & Wagner 2017, Towards evaluating the robustness of neural networks, S&P.
    """
    chosen = labels if targets is None else targets
    own = logits.gather(1, chosen[:, None])[:, 0]
    others = logits.scatter(1, chosen[:, None], -torch.inf).amax(1)
    return others - own if targets is None else own - others


def dlr(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return the difference of logits ratio: the margin, on a scale that no rescaling changes.

    -(z_y - max z_k over k ≠ y) / (z_π1 - z_π3), where π sorts the logits, the largest first;
    towards a target t, -(z_y - z_t) / (z_π1 - (z_π3 + z_π4) / 2)

    >>> dlr(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
    tensor([-0.5000])

    Source: Croce & Hein 2020, Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, ICML, section 4.
    """
    largest = logits.topk(3 if targets is None else 4, dim=1).values
    if targets is None:
        scale = largest[:, 0] - largest[:, 2]
        return margin(logits, labels) / (scale + TINY)
    scale = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2
    own, other = (logits.gather(1, chosen[:, None])[:, 0] for chosen in (labels, targets))
    return (other - own) / (scale + TINY)


TINY = 1e-12
"""The least scale of logits."""

LOSSES: dict[str, Loss] = {"ce": ce, "dlr": dlr, "margin": margin}
LEAST = {"ce": (2, 2), "dlr": (3, 4), "margin": (2, 2)}
"""The least number of classes that a loss needs, and towards a target."""


def check_loss(loss: str, classes: int | None = None, *, targeted: bool = False) -> None:
    """Refuse a loss that is none, or that needs more classes.

    >>> check_loss("dlr", classes=10)
    """
    if loss not in LOSSES:
        raise Refused("loss", f"one of {', '.join(LOSSES)}", loss)
    least = LEAST[loss][targeted]
    if classes is not None and classes < least:
        rule = f"ce or margin for {classes} classes, since dlr needs {least}"
        raise Refused("loss", rule, loss)
