"""How a data set is cut into parts."""

import torch
from torch import Tensor

from experiments.data.contract import Data, Images
from xformopt.refused import Refused


def from_arrays(
    name: str, images: Tensor, labels: Tensor, *, valid: float, test: float, seed: int = 0
) -> Data:
    """Return a data set whose valid and test parts are drawn off, the same shares of each class.

    Args:
        name: what it is called in lines and pictures.
        images: uint8 of shape `(N, C, H, W)`.
        labels: int64 of shape `(N,)`.
        valid: the share of what is left beside `test`.
        test: the share of all.
        seed: of the valid part; the test part is always the same.
    """
    whole = Images(torch.as_tensor(images), torch.as_tensor(labels))
    rest, tested = stratified(whole, test, 0, key="test")
    trained, validated = stratified(rest, valid, seed, key="valid")
    return Data(name, trained, validated, tested)


def stratified(images: Images, share: float, seed: int, *, key: str) -> tuple[Images, Images]:
    """Cut a share off, the same of each class, at random by the seed.

    >>> whole = Images(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), torch.arange(10) % 2)
    >>> rest, off = stratified(whole, 0.4, seed=0, key="valid")
    >>> len(rest), off.labels.bincount().tolist()
    (6, [2, 2])
    """
    from sklearn.model_selection import train_test_split

    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise Refused(key, "a share in (0, 1)", share)
    labels = images.labels.numpy()
    try:
        rest, off = train_test_split(
            range(len(labels)), test_size=share, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise Refused(
            key, "a share that leaves images of each class in each part", share
        ) from error
    return images[torch.tensor(rest)], images[torch.tensor(off)]
