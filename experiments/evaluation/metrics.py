"""Metrics of classifiers, each a function of logits, shape `(N, classes)`, and labels, `(N,)`."""

from torch import Tensor, nn

from experiments import register
from xformopt.refused import Refused


@register.metric("min", scale="log", limit=0)
def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy.

    >>> import torch
    >>> loss(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    tensor(0.6931)
    """
    return nn.functional.cross_entropy(logits, labels)


@register.metric("max", limit=1)
def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the share of images whose class has the largest logit.

    >>> import torch
    >>> accuracy(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    tensor(0.5000)
    """
    return (logits.argmax(1) == labels).float().mean()


@register.metric("max", limit=1)
def top_accuracy(logits: Tensor, labels: Tensor, k: int = 5) -> Tensor:
    """Return the share of images whose class is among the k largest logits.

    >>> import torch
    >>> top_accuracy(torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), torch.tensor([1, 2]), k=2)
    tensor(0.5000)
    """
    if not isinstance(k, int) or not 1 <= k <= logits.shape[1]:
        raise Refused("k", f"an int from 1 to the number of classes, {logits.shape[1]}", k)
    return (logits.topk(k, dim=1).indices == labels[:, None]).any(1).float().mean()
