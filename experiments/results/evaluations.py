"""What weights reach under attacks and on corrupted images: a line each, only ever appended."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from experiments.results.folder import whole_lines
from experiments.results.swept import differing

NAME = "evaluations.jsonl"
KINDS = ("clean", "attack", "corruption")
CORRUPTED = "corrupted"
"""What the mean over all corruptions is called."""


@dataclass(frozen=True)
class Evaluation:
    """The metrics of some weights on a part of the data, under a condition.

    `weights` are the last or the best, or an `average` of these; `kind` is clean, attack or
    corruption; `level` a radius, in a `norm`, or a severity; `count` the number of images.
    """

    weights: Literal["last", "best"]
    average: str
    split: str
    kind: str
    name: str
    level: float
    settings: Mapping[str, Any]
    count: int
    metrics: Mapping[str, float]
    norm: str = ""
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """Return what its figures are called by."""
        return label_of(self.kind, self.name, self.level)

    @property
    def key(self) -> str:
        """Return what is the same of two that measured the same."""
        held = asdict(self)
        return json.dumps({k: v for k, v in held.items() if k not in ("metrics", "seconds")})


def flat(found: Iterable[Evaluation], metric: str) -> dict[str, float]:
    """Return one metric of each as a figure with a name; of corruptions, the means.

    >>> common = {"weights": "last", "average": "", "split": "test", "settings": {}, "count": 9}
    >>> under = Evaluation(kind="attack", name="fgsm", level=0.1, metrics={"hit": 0.5}, **common)
    >>> fog = Evaluation(kind="corruption", name="fog", level=3, metrics={"hit": 0.7}, **common)
    >>> flat([under, fog], "hit")
    {'test_fgsm_0.1_hit': 0.5, 'test_corrupted_fog_hit': 0.7, 'test_corrupted_hit': 0.7}
    """
    figures: dict[str, list[float]] = {}
    corrupted: dict[str, list[float]] = {}
    for one in found:
        value = one.metrics[metric]
        figures.setdefault(_named(one, one.label, metric), []).append(value)
        if one.kind == "corruption":
            corrupted.setdefault(_named(one, CORRUPTED, metric), []).append(value)
    return {name: mean(values) for name, values in (figures | corrupted).items()}


def label_of(kind: str, name: str, level: float) -> str:
    """Return what figures under a condition are called by; those of a corruption are means.

    >>> label_of("attack", "fgsm", 8 / 255), label_of("corruption", "fog", 3)
    ('fgsm_0.03137', 'corrupted_fog')
    """
    attack = f"{name}_{level:.4g}"
    return {"attack": attack, "corruption": f"{CORRUPTED}_{name}"}.get(kind, name)


def called(found: Sequence[Evaluation]) -> list[str]:
    """Return what each is called: its name, and what tells it from others of this name.

    >>> from dataclasses import replace
    >>> common = {"weights": "last", "average": "", "split": "test", "level": 0.1, "metrics": {}}
    >>> common |= {"kind": "attack", "settings": {"steps": 9}}
    >>> few = Evaluation(name="pgd", count=9, **common)
    >>> called([few, replace(few, settings={"steps": 40}), replace(few, name="fgsm")])
    ['pgd, steps=9', 'pgd, steps=40', 'fgsm']
    >>> called([few, replace(few, count=5)])
    ['pgd, 9 images', 'pgd, 5 images']
    """
    variants: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in found:
        variants.setdefault((one.kind, one.name), []).append(_variant(one))
    keys = {name: differing(own) for name, own in variants.items()}
    return [_told(one, keys[one.kind, one.name]) for one in found]


def _variant(one: Evaluation) -> dict[str, Any]:
    return {**one.settings, "images": one.count, "norm": one.norm}


def _told(one: Evaluation, keys: Sequence[str]) -> str:
    own = _variant(one)
    said = [f"{one.count} images" if k == "images" else f"{k}={own.get(k)}" for k in keys]
    return ", ".join([one.name, *said])


def read(folder: Path) -> list[Evaluation]:
    """Return those of a run; a last line that a kill left half is none."""
    known = {field.name for field in fields(Evaluation)}
    held = whole_lines(folder / NAME)
    return [Evaluation(**{k: v for k, v in one.items() if k in known}) for one in held]


class Record:
    """The evaluations of a run, each of which is measured and kept once; without a folder, none."""

    def __init__(self, folder: Path | None) -> None:
        """Read what is there."""
        self.folder = folder
        self.held = {one.key: one for one in read(folder)} if folder else {}

    def find(self, asked: Evaluation) -> Evaluation | None:
        """Return what was measured as it is asked."""
        return self.held.get(asked.key)

    def keep(self, one: Evaluation) -> None:
        """Append a whole line at once, unless it is there."""
        if self.folder is None or one.key in self.held:
            return
        self._cut()
        self.held[one.key] = one
        line = json.dumps(asdict(one), allow_nan=False) + "\n"
        with (self.folder / NAME).open("ab", buffering=0) as file:
            file.write(line.encode())

    def _cut(self) -> None:
        """Take off a last line that a kill left half."""
        path = (self.folder or Path()) / NAME
        text = path.read_bytes() if path.exists() else b""
        if text and not text.endswith(b"\n"):
            os.truncate(path, text.rfind(b"\n") + 1)


def _named(one: Evaluation, label: str, metric: str) -> str:
    return "_".join(filter(None, (one.average, one.split, label, metric)))
