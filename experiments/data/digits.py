"""Scikit-learn's digits."""

from experiments import register
from experiments.data.contract import Data
from experiments.data.packaged import pixels_and_classes
from experiments.data.split import from_arrays

FILE = "datasets/data/digits.csv.gz"


@register.data
def digits(valid: float = 0.1, seed: int = 0) -> Data:
    """Return 1,797 real 8 × 8 digits: a fifth of each class for the test, `valid` of what is left.

    The test part is always the same; `seed` draws the valid part.

    >>> data = digits()
    >>> len(data.train), len(data.valid), len(data.test), tuple(data.shape), data.classes
    (1293, 144, 360, (1, 8, 8), 10)

    Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI.
    """
    sixteenths, labels = pixels_and_classes("sklearn", FILE, 8, "scikit-learn")
    images = sixteenths.float().mul_(255 / 16).round_().byte()
    return from_arrays("digits", images, labels, valid=valid, test=0.2, seed=seed)
