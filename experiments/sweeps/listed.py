"""Jobs that are listed one by one, in place of all combinations."""

import re
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
    if not (isinstance(found, list) and found and all(map(_is_job, found))):
        raise Refused("sweep.list", "a list of settings, a mapping a job", found, WAY_OUT)
    return [
        tuple(f"{key}={_text(value)}" for key, value in one.items())
        if isinstance(one, Mapping)
        else tuple(one)
        for one in found
    ]


def quoted(text: str) -> str:
    """Return a text as Hydra reads it as one.

    >>> quoted("lion"), quoted("/data/a,b")
    ('lion', "'/data/a,b'")
    """
    if re.fullmatch(r"[\w./:+@%-]+", text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _is_job(one: Any) -> bool:
    """Return whether this is a mapping, or a list of words of a command line."""
    if isinstance(one, list):
        return bool(one) and all(isinstance(word, str) and "=" in word for word in one)
    return isinstance(one, Mapping) and bool(one)


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
    return quoted(value) if isinstance(value, str) else str(value)
