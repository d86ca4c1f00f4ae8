"""What a run reached: one typed record, saved as `summary.json`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from experiments.results.metric import Metric
from xformopt.refused import Refused

NAME = "summary.json"
VERSION = 1
Status = Literal["running", "finished", "failed", "interrupted", "killed"]


@dataclass(frozen=True)
class Summary:
    """A run, from its command to its figures; of one that failed, what is known.

    `identity` and seed name the job, and `schema` the configs that there were to choose from; a run
    that is killed cannot say so: who reads it does. `final` and `best` map `step` and each metric
    to its figure, after the last step and where the goal was best; `conditions` are attacks and
    corruptions under which the goal was measured, too; `target` holds that of the trainer, and when
    it was reached; `epoch` is the number of its steps, 0 without data; `notes` say what has no
    effect, or not the one that it seems to have; `trusted` are the modules that the command trusts.
    """

    status: Status
    seed: int | None = None
    overrides: tuple[str, ...] = ()
    identity: str = ""
    schema: str = ""
    task: str = ""
    goal: Metric | None = None
    model: str = ""
    optimizer: str = ""
    inner: str = ""
    transforms: tuple[str, ...] = ()
    parameters: int = 0
    epoch: int = 0
    final: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()
    target: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0
    environment: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION

    @property
    def title(self) -> str:
        """Return task, model and optimizer, as pictures are titled."""
        return " · ".join(filter(None, (self.task, self.model, self.optimizer)))

    def tested(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Return those of some figures that are on the test part: each has one on the valid part.

        >>> Summary("finished").tested({"valid_latest_hit": 1.0, "valid_hit": 0.9, "test_hit": 0.8})
        {'test_hit': 0.8}
        """
        on_valid = {name: name.replace("test_", "valid_", 1) for name in figures if "test_" in name}
        found = {name: figures[name] for name, other in on_valid.items() if other in figures}
        return {name: value for name, value in found.items() if not self._condition_of(name)}

    def under(self, figures: Mapping[str, float]) -> dict[str, dict[str, float]]:
        """Return those of some figures that are under conditions, by condition.

        >>> summary = Summary("finished", conditions=("fgsm_0.1",))
        >>> summary.under({"test_hit": 0.8, "test_fgsm_0.1_hit": 0.5})
        {'fgsm_0.1': {'test_fgsm_0.1_hit': 0.5}}
        """
        found: dict[str, dict[str, float]] = {}
        for name, value in figures.items():
            if condition := self._condition_of(name):
                found.setdefault(condition, {})[name] = value
        return found

    def _condition_of(self, name: str) -> str:
        return max((c for c in self.conditions if f"_{c}_" in name), key=len, default="")

    def reached(self) -> float | None:
        """Return the final figure of the goal, which sweepers and leaderboards go by."""
        return self.final.get(self.goal.name) if self.goal else None


def as_json(summary: Summary) -> str:
    """Return a summary as text."""
    goal = summary.goal and summary.goal._asdict()
    return json.dumps({**asdict(summary), "goal": goal}, indent=2, allow_nan=False) + "\n"


def read(path: Path) -> Summary:
    """Read a summary; one of another version is refused, not guessed at."""
    held = json.loads(path.read_text())
    if held.get("version") != VERSION:
        raise Refused(
            f"`{path}` is a summary of version {held.get('version')}, and this is a launcher for "
            f"version {VERSION}: run it anew"
        )
    known = {f.name for f in fields(Summary)}
    held = {key: tuple(v) if isinstance(v, list) else v for key, v in held.items() if key in known}
    return Summary(**{**held, "goal": Metric(**held["goal"]) if held["goal"] else None})
