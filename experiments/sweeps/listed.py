"""Jobs that are listed one by one, in place of all combinations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from xformopt.refused import Refused

WAY_OUT = "`sweep.list=[{optim: lion, optim.lr_scale: 0.3}, {optim: muon}]`, or a YAML file of such"


def listed(said: Any) -> list[tuple[str, ...]]:
    """Return what each job of a list sets; said itself, or the file that it stands in.

    >>> listed([{"optim": "lion", "optim.lr_scale": 0.3}, {"optim": "muon"}])
    [('optim=lion', 'optim.lr_scale=0.3'), ('optim=muon',)]
    """
    found = _read(said) if isinstance(said, str) else said
    if not (isinstance(found, list) and found and all(isinstance(x, Mapping) and x for x in found)):
        raise Refused("sweep.list", "a list of settings, a mapping a job", found, WAY_OUT)
    return [tuple(f"{key}={_text(value)}" for key, value in one.items()) for one in found]


def _read(file: str) -> Any:
    path = Path(file)
    if not path.is_file():
        raise Refused("sweep.list", "a list, or a file that is there", file, WAY_OUT)
    try:
        return yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused("sweep.list", "a file of YAML", file, str(error).splitlines()[0]) from error


def _text(value: Any) -> str:
    """Return a value as Hydra reads it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return str(value)
