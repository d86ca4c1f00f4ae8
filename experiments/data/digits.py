"""Scikit-learn's digits."""

import torch

from experiments import register
from experiments.data.contract import Data
from experiments.data.split import from_arrays


@register.data
def digits(valid: float = 0.1, seed: int = 0) -> Data:
    """Return 1,797 real 8 × 8 digits: a fifth of each class for the test, `valid` of what is left.

    The test part is always the same; `seed` draws the valid part.

    >>> data = digits()
    >>> len(data.train), len(data.valid), len(data.test), tuple(data.shape), data.classes
    (1293, 144, 360, (1, 8, 8), 10)

    Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI.
    """
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    images = torch.tensor(pixels).mul_(255 / 16).round_().byte().view(-1, 1, 8, 8)
    labels = torch.tensor(classes, dtype=torch.long)
    return from_arrays("digits", images, labels, valid=valid, test=0.2, seed=seed)
