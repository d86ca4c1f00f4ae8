"""Which corruptions images are judged under: C-like ones of ours, or files of others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments.data.contract import Data
from experiments.data.corrupted import corrupted_images, corrupted_size, names_of
from experiments.evaluation.conditions import Condition, corrupted, of_files
from xformopt.perturbations import CORRUPTIONS
from xformopt.refused import Refused
from xformopt.text import close_matches

COLORS = 3
ALL = range(1, 6)
"""All severities."""


@dataclass(frozen=True)
class Corruptions:
    """Those that are chosen: by name, or all; at some severities; of a folder of files, or ours."""

    chosen: bool | Sequence[str]
    severities: Sequence[int] | None
    files: str | None

    def __post_init__(self) -> None:
        """Refuse what cannot be, and what nothing would read."""
        if not isinstance(self.chosen, bool) and not _is_list_of(str, self.chosen):
            raise Refused("corruptions", "true, false or a list of names", self.chosen)
        severities = ALL if self.severities is None else self.severities
        if not (_is_list_of(int, severities) and {*severities} <= {*ALL} and len(severities)):
            raise Refused("severities", "a list of ints from 1 to 5, or null", severities)
        for key in ("chosen", "severities"):
            said = getattr(self, key)
            if _is_list_of(object, said) and len({*said}) < len(said):
                name = "corruptions" if key == "chosen" else key
                raise Refused(name, "a list without repetitions", said)
        for key in ("severities", "files"):
            if not self.chosen and getattr(self, key) is not None:
                rule, way_out = "null without `eval.corruptions`", "`eval.corruptions=true`"
                raise Refused(key, rule, getattr(self, key), way_out)

    def __bool__(self) -> bool:
        """Whether any is chosen."""
        return bool(self.chosen)

    def names(self, data: Data) -> list[str]:
        """Return the names of those that are chosen; all are those that act on such images."""
        known = self._known()
        if self.chosen is True:
            return [name for name in known if self.files or _acts(name, data)]
        chosen = [] if isinstance(self.chosen, bool) else [*self.chosen]
        for name in chosen:
            if name not in known:
                way_out = close_matches(name, known)
                raise Refused("corruptions", "names of corruptions", name, way_out)
            if not self.files and not _acts(name, data):
                rule = "of those that act on images without colour"
                raise Refused("corruptions", rule, name)
        return chosen

    def conditions(self, data: Data, split: str) -> Iterator[Condition]:
        """Give each at each severity; files are of test alone."""
        for name in self.names(data):
            if self.files is None:
                yield from (corrupted(name, severity) for severity in self.severities or ALL)
            elif split == "test":
                folder = Path(self.files).expanduser()
                size = corrupted_size(folder, name, data)
                for severity in self.severities or ALL:
                    images = partial(corrupted_images, folder, name, severity, data)
                    yield of_files(name, severity, images, size, self.files)

    def _known(self) -> list[str]:
        return list(CORRUPTIONS) if self.files is None else names_of(Path(self.files).expanduser())


def _acts(name: str, data: Data) -> bool:
    return data.shape[0] == COLORS or not CORRUPTIONS[name].needs_color


def _is_list_of(kind: type, held: Any) -> bool:
    is_list = isinstance(held, Sequence) and not isinstance(held, str)
    return is_list and all(isinstance(x, kind) and not isinstance(x, bool) for x in held)
