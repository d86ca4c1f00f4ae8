"""What a comparison keeps of itself in its folder, beside its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from experiments.results.folder import replace
from xformopt.refused import Refused

NAME, CHOSEN = "study.yaml", "chosen.yaml"


@dataclass(frozen=True)
class Study:
    """How contenders are compared: what all jobs have, and the keys that tell contenders apart.

    `chosen` has, for each contender on each problem, what it and the best of its trials set;
    `targets` are those of the problems.
    """

    same: Sequence[str]
    swept: Sequence[str]
    command: str
    chosen: Sequence[Sequence[str]] = ()
    targets: Mapping[str, float | None] = field(default_factory=dict)

    def keep(self, folder: Path) -> None:
        """Write it into its folder."""
        held = asdict(self)
        replace(folder / CHOSEN, yaml.safe_dump([[*job] for job in held.pop("chosen")]))
        replace(folder / NAME, yaml.safe_dump(held, sort_keys=False, width=10**6))


def study_in(folder: Path) -> Study | None:
    """Return that of a folder, if it holds a comparison; one of an older version is refused."""
    if not (folder / NAME).exists():
        return None
    chosen = (folder / CHOSEN).read_text() if (folder / CHOSEN).exists() else "[]"
    held = yaml.safe_load((folder / NAME).read_text())
    if not isinstance(held, dict):
        raise Refused(f"`{folder}` holds a comparison of an older version: `folder=DIR` another")
    return Study(**held, chosen=yaml.safe_load(chosen))
