"""Folders of pictures, one for each class."""

from collections.abc import Sequence
from pathlib import Path

import torch

from experiments import register
from experiments.data.contract import Data, Images
from experiments.data.files import Files, check_channels
from experiments.data.split import as_parts, from_parts
from experiments.data.taking import in_memory
from xformopt.refused import Refused, check_count


@register.data
def imagefolder(
    root: str,
    name: str | None = None,
    size: int = 64,
    channels: int = 3,
    valid: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    workers: int = 2,
    gib: float = 2.0,
) -> Data:
    """Return the pictures of `root/CLASS/…`, or of `root/train/CLASS/…`, `valid/…` and `test/…`.

    Each is brought to `size` × `size`: its shorter side is scaled to that, and the middle is kept.
    What is missing of valid and test is drawn off `train`, those shares of each class; where there
    is one part beside `train`, it is the test. Sets of up to `gib` GiB are decoded once, at the
    start; larger ones as they are needed. `workers` processes decode.
    """
    check_count("size", size)
    check_count("workers", workers, least=0)
    check_channels(channels)
    folder = Path(root).expanduser()
    found = _folders(folder)
    names = sorted({path.name for part in found.values() for path in _below(part)})
    files = {part: _files(path, names, size, channels, workers) for part, path in found.items()}
    if len(names) < 2 or not all(labels.numel() for _, labels in files.values()):
        rule = "a folder of folders of pictures, one for each class, at least two"
        raise Refused("root", rule, str(folder))
    empty = {*range(len(names))} - {k for _, labels in files.values() for k in labels.tolist()}
    if empty:
        rule = f"a folder with pictures of each class, and `{names[min(empty)]}` has none"
        raise Refused("root", rule, str(folder))
    held = sum(pixels.shape.numel() for pixels, _ in files.values()) <= gib * 2**30
    parts = {
        part: Images(in_memory(pixels) if held else pixels, labels)
        for part, (pixels, labels) in files.items()
    }
    return from_parts(
        name or folder.resolve().name, parts, valid=valid, test=test, seed=seed, names=names
    )


def _folders(root: Path) -> dict[str, Path]:
    """Return the folder of each part that has one; the root itself where none has."""
    if not root.is_dir():
        raise Refused("root", "a folder that is there", str(root))
    return as_parts({path.name: path for path in _below(root)}) or {"train": root}


def _below(folder: Path) -> list[Path]:
    """Return the folders in a folder; hidden ones do not count."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(
    folder: Path, names: Sequence[str], size: int, channels: int, workers: int
) -> tuple[Files, torch.Tensor]:
    """Return the pictures below the folder of each class, and their classes."""
    from PIL import Image

    known = set(Image.registered_extensions())
    pairs = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in known
    ]
    labels = torch.tensor([label for _, label in pairs], dtype=torch.long)
    return Files([path for path, _ in pairs], size, channels, workers), labels
