"""How a data set is cut into parts."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from experiments.data.contract import Data, Images
from xformopt.refused import Refused, check_count

Held = TypeVar("Held")

PARTS = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What a part may be called by a data set's maker."""


def as_parts(there: Mapping[str, Held]) -> dict[str, Held]:
    """Return what is there, by part; one alone beside `train` is the test; nothing without `train`.

    >>> as_parts({"train": 1, "val": 2, "extra": 3})
    {'train': 1, 'test': 2}
    """
    known = {name.lower(): held for name, held in there.items()}
    found = {part: known[name] for part, names in PARTS.items() for name in names if name in known}
    if "test" not in found and "valid" in found:
        found["test"] = found.pop("valid")
    return found if "train" in found else {}


def from_arrays(
    name: str,
    images: Tensor,
    labels: Tensor,
    *,
    valid: float,
    test: float,
    seed: int = 0,
    names: Sequence[str] = (),
) -> Data:
    """Return a data set whose valid and test parts are drawn off, the same shares of each class.

    Args:
        name: what it is called in lines and pictures.
        images: uint8 of shape `(N, C, H, W)`.
        labels: int64 of shape `(N,)`.
        valid: the share of what is left beside `test`.
        test: the share of all.
        seed: of the valid part; the test part is always the same.
        names: those of the classes, if they have any.
    """
    whole = Images(torch.as_tensor(images), torch.as_tensor(labels))
    return from_parts(name, {"train": whole}, valid=valid, test=test, seed=seed, names=names)


def from_parts(
    name: str,
    parts: Mapping[str, Images],
    *,
    valid: float,
    test: float = 0.2,
    seed: int = 0,
    names: Sequence[str] = (),
) -> Data:
    """Return a data set of the parts that are there; what is missing is drawn off `train`.

    `valid` and `test` are the shares by which that is done, as `from_arrays` has them.
    """
    held = dict(parts)
    if "test" not in held:
        held["train"], held["test"] = stratified(held["train"], test, 0, key="test")
    if "valid" not in held:
        held["train"], held["valid"] = stratified(held["train"], valid, seed, key="valid")
    return Data(name, held["train"], held["valid"], held["test"], names)


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
    check_count("seed", seed, least=0)
    labels = images.labels.numpy()
    try:
        rest, off = train_test_split(
            range(len(labels)), test_size=share, random_state=seed, stratify=labels
        )
    except ValueError as error:
        fewest = images.labels.unique(return_counts=True)[1].min()
        rule = f"a share that leaves images of each class in each part; one has {fewest} in all"
        raise Refused(key, rule, share) from error
    return images.part(torch.tensor(rest)), images.part(torch.tensor(off))
