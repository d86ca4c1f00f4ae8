"""Data sets that are decoded once: one file of uint8 each, in the user's cache."""

import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from json import dumps, loads
from pathlib import Path
from typing import Any

from experiments.data.contract import Images
from experiments.results.folder import aside

Parts = Mapping[str, Images]


def cached(
    key: Mapping[str, Any], folder: str | None, make: Callable[[], tuple[Parts, list[str]]]
) -> tuple[Parts, list[str]]:
    """Return parts and names of classes; from the file of that key, or made and put there.

    The file is read as it is needed, and shared by all processes that read it.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    said = dumps(key, sort_keys=True)
    path = _folder(folder) / f"{blake2b(said.encode(), digest_size=8).hexdigest()}.safetensors"
    if not path.is_file():
        parts, names = make()
        tensors = {
            f"{part}.{what}": getattr(images, what).contiguous()
            for part, images in parts.items()
            for what in ("pixels", "labels")
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside(path) as unfinished:
            save_file(tensors, unfinished, {"key": said, "names": dumps(names)})
    held = load_file(path)
    with safe_open(path, framework="pt") as file:
        names = loads(file.metadata()["names"])
    parts = sorted({name.partition(".")[0] for name in held})
    return {part: Images(held[f"{part}.pixels"], held[f"{part}.labels"]) for part in parts}, names


def _folder(chosen: str | None) -> Path:
    if chosen is not None:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "xformopt"
