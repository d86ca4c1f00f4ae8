"""Runs that have ended, as tables: a row a run, a row an evaluation, or arrays over settings."""

import json
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.results import evaluations
from experiments.results.folder import runs_in, status_in
from experiments.results.summary import Summary
from experiments.results.swept import as_value, swept
from xformopt.refused import Refused

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

DEFAULT = "default"
"""The value of what a run leaves as it is, and another sets."""

ABOUT = ["average", "split", "kind", "name", "norm", "count", "settings", "seconds", "folder"]
"""What is said of an evaluation beside its figures, and is no coordinate."""

NEEDS = "`pip install 'xformopt[results]'` brings pandas and xarray"


@dataclass(frozen=True)
class Results:
    """The runs of some folders."""

    folders: Sequence[Path]

    @cached_property
    def settings(self) -> list[dict[str, Any]]:
        """Return of each run its seed, and what it sets that another sets otherwise, or not."""
        found = swept([summary.overrides for summary in self.summaries])
        keys = dict.fromkeys(key for one in found for key in one if key != "seed")
        own = [{k: as_value(one[k]) if k in one else DEFAULT for k in keys} for one in found]
        return [{**one, "seed": s.seed} for one, s in zip(own, self.summaries, strict=True)]

    @cached_property
    def summaries(self) -> list[Summary]:
        """Return what each run reached."""
        return [status_in(folder) for folder in self.folders]

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row a run: its settings, its final figures, and those of its best weights."""
        pandas = _module("pandas")
        rows = []
        for folder, held, run in zip(self.folders, self.settings, self.summaries, strict=True):
            best = {f"best_{name}": value for name, value in run.best.items()}
            about = {"status": run.status, "seconds": run.seconds, "parameters": run.parameters}
            rows.append({**held, **about, **run.final, **best, "folder": str(folder)})
        return pandas.DataFrame(rows)

    def evaluations(self) -> "pd.DataFrame":
        """Return a row an evaluation under attacks and corruptions, with the run's settings.

        The settings of the attack stand as text in `settings`; `called` is its name, and what tells
        it from others of this name in the run.
        """
        pandas = _module("pandas")
        rows = []
        for folder, held in zip(self.folders, self.settings, strict=True):
            found = evaluations.read(folder)
            for one, called in zip(found, evaluations.called(found), strict=True):
                own = {k: v for k, v in asdict(one).items() if k != "metrics"}
                own |= {"settings": json.dumps(one.settings), "called": called}
                rows.append({**held, **own, **one.metrics, "folder": str(folder)})
        return pandas.DataFrame(rows)

    def to_xarray(self) -> "xr.Dataset":
        """Return arrays over the settings that differ, which are coordinates.

        Final figures have a value for each; metrics under attacks, `attack_accuracy`, one for each
        weights, attack and epsilon; those on corrupted images, `corruption_accuracy`, for each
        weights, corruption and severity. What was not run is NaN. Attacks that a run has made with
        several settings, or on several numbers of images, are told apart by these.
        """
        xarray = _module("xarray")
        keys = list(dict.fromkeys(key for held in self.settings for key in held))
        runs = self.to_pandas().drop(columns=["status", "folder"])
        held = [_arrays(runs, keys)]
        found: Any = self.evaluations()
        for kind, level in {"attack": "epsilon", "corruption": "severity"}.items():
            own = found[(found.kind == kind) & (found.average == "")] if len(found) else found
            if len(own):
                own = own.rename(columns={"called": kind, "level": level})
                left = [*keys, "weights", kind, level]
                arrays = _arrays(own.drop(columns=ABOUT), left)
                names: dict[Hashable, Hashable] = {name: f"{kind}_{name}" for name in arrays}
                held.append(arrays.rename(names))
        return xarray.merge(held, join="outer")


def load(*folders: str | Path) -> Results:
    """Return the runs in some folders, each that of a run or of a sweep.

    Raises:
        Refused: where a folder holds no run, or pandas and xarray are missing.
    """
    return Results([run for folder in folders for run in runs_in(Path(folder))])


def _arrays(table: "pd.DataFrame", keys: Sequence[str]) -> "xr.Dataset":
    """Return an array a column, over keys by which rows are told apart."""
    again = table[table.duplicated(list(keys))]
    if len(again):
        same = ", ".join(f"{key}={again.iloc[0][key]}" for key in keys)
        raise Refused(f"two runs have the same settings, {same}: load one of them alone")
    return table.set_index(list(keys)).to_xarray()


def _module(name: str) -> Any:
    try:
        return __import__(name)
    except ModuleNotFoundError as error:
        raise Refused(f"`{name}` is not installed: {NEEDS}") from error
