"""Common corruptions of images, C-like: what ImageNet-C and CIFAR-10-C do, in torch.

Each is a `Corruption`: `corruption(images, severity, generator)`, with images in [0, 1] of shape
`(N, C, H, W)`. Algorithms and constants are those of the authors' source, for 32, 64 and 224 pixels
a side; images of other sizes take the constants of the nearest of these. The files that the authors
published hold other numbers: their generators, and rounding to 8 bits, which here JPEG alone does;
those of ImageNet-C are JPEG files of quality 85 besides. Figures from here are not figures on them.

Of the 15 main corruptions `frost` is left out, which pastes pictures that the authors photographed;
`speckle_noise`, of the four extra ones, may stand for it. Of these `spatter` is left out too, which
goes by OpenCV's edges and distances. Every module here is imported, and what it registers stands in
`CORRUPTIONS` by its name.

Source: Hendrycks & Dietterich 2019, Benchmarking neural network robustness to common corruptions
and perturbations, ICLR; https://github.com/hendrycks/robustness.
"""

import importlib
import pkgutil

from xformopt.perturbations.corruptions.registry import CORRUPTIONS, Corruption, corruption

__all__ = ["CORRUPTIONS", "Corruption", "corruption"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
