"""Sets of images from the Hugging Face hub."""

from collections.abc import Mapping
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import torch

from experiments import register
from experiments.data.cache import Parts, cached
from experiments.data.contract import Data, Images
from experiments.data.files import as_pixels, check_channels
from experiments.data.split import PARTS, as_parts, from_parts
from xformopt.refused import Refused, check_count


@register.data
def hub(
    name: str,
    config: str | None = None,
    revision: str | None = None,
    image: str | None = None,
    label: str | None = None,
    splits: Mapping[str, str] | None = None,
    size: int | None = None,
    channels: int = 3,
    valid: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    cache: str | None = None,
) -> Data:
    """Return a set of the hub, or of a folder laid out like one there, decoded once for all runs.

    Args:
        name: `OWNER/NAME`, or the path of a local copy.
        config: one of its configs, where it has several.
        revision: the commit, so that a run can be repeated.
        image: the column of images; null: the only one.
        label: the column of classes; null: the only one.
        splits: the splits to take as `train`, `valid` and `test`; null: those called so. What is
            missing is drawn off `train`, the shares `valid` and `test` of each class.
        size: of the square that each image is brought to; null: they have one size already.
        channels: 1 or 3.
        valid: a share.
        test: a share.
        seed: of the valid part.
        cache: the folder that keeps it as one file of uint8; null: the user's cache.
    """
    check_channels(channels)
    check_count("size", size, optional=True)
    key: dict[str, Any] = {
        "name": name,
        "config": config,
        "revision": revision,
        "image": image,
        "label": label,
    }
    key |= {"splits": splits and dict(splits), "size": size, "channels": channels}
    if Path(name).is_dir():
        files = (path for path in Path(name).rglob("*") if path.is_file())
        key["changed"] = max((path.stat().st_mtime_ns for path in files), default=0)
    parts, names = cached(key, cache, lambda: _made(key))
    short = name.rstrip("/").rpartition("/")[2]
    return from_parts(short, parts, valid=valid, test=test, seed=seed, names=names)


def _made(key: Mapping[str, Any]) -> tuple[Parts, list[str]]:
    """Return the parts of a set, decoded, and the names of its classes."""
    loaded = _loaded(key)
    chosen = _chosen(loaded, key["splits"])
    features = chosen["train"].features
    image = key["image"] or _only(features, "image", "Image")
    label = key["label"] or _only(features, "label", "ClassLabel")
    for what, column in (("image", image), ("label", label)):
        if column not in features:
            raise Refused(what, f"a column: {', '.join(features)}", column)
    parts = {part: _images(rows, image, label, key) for part, rows in chosen.items()}
    return parts, list(getattr(features[label], "names", ()))


def _loaded(key: Mapping[str, Any]) -> Any:
    try:
        from datasets import disable_progress_bars, load_dataset
    except ModuleNotFoundError as error:
        raise Refused(
            "sets of the hub need the package datasets: `pip install datasets`"
        ) from error
    disable_progress_bars()
    getLogger("huggingface_hub").setLevel(ERROR)
    try:
        return load_dataset(key["name"], key["config"], revision=key["revision"])
    except (OSError, ValueError, RuntimeError) as error:
        raise Refused(
            "name",
            f"a set that can be loaded ({_first_line(error)})",
            key["name"],
            "run once where the hub can be reached, or name a local copy, laid out as there",
        ) from error


def _chosen(loaded: Mapping[str, Any], splits: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the rows of each part."""
    there = f"splits of the set: {', '.join(loaded)}"
    if splits is None:
        chosen = as_parts(loaded)
        if not chosen:
            raise Refused("splits", f"given, as {{train: …}}, of the {there}", None)
        return chosen
    if "train" not in splits or not set(splits) <= set(PARTS):
        raise Refused("splits", "a mapping of train, and valid and test, to splits", splits)
    wrong = next((name for name in splits.values() if name not in loaded), None)
    if wrong is not None:
        raise Refused("splits", f"of the {there}", wrong)
    return {part: loaded[name] for part, name in splits.items()}


def _only(features: Mapping[str, Any], what: str, kind: str) -> str:
    """Return the only column of a kind."""
    found = [name for name, feature in features.items() if type(feature).__name__ == kind]
    if len(found) != 1:
        raise Refused(what, f"given: the columns are {', '.join(features)}", None)
    return found[0]


def _images(rows: Any, image: str, label: str, key: Mapping[str, Any]) -> Images:
    pixels = [as_pixels(row, key["size"], key["channels"]) for row in rows[image]]
    shapes = {tuple(one.shape) for one in pixels}
    if len(shapes) > 1:
        some = ", ".join(map(str, sorted(shapes)[:3]))
        raise Refused("size", f"given for images of several shapes, {some}", None)
    return Images(torch.stack(pixels), torch.tensor(list(rows[label]), dtype=torch.long))


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
