"""A folder of results: a line for each case, written when it is measured."""

import json
from pathlib import Path
from typing import Any

from experiments.bench.case import Row

FILE = "results.jsonl"


class Results:
    """Appends what is measured to `results.jsonl`, and goes on from what stands there.

    A line holds a case's rows, and what they hang on. It is written whole, so that a run that is
    cut keeps every case that it had measured.
    """

    def __init__(self, folder: Path, machine: dict[str, Any], *, resume: bool) -> None:
        """Read what is there, to go on from it; otherwise there must be nothing."""
        self.folder, self.path, self.machine = folder, folder / FILE, machine
        if self.path.exists() and not resume:
            raise ValueError(f"{folder} holds results already: take another, or --resume {folder}")
        if resume and not self.path.exists():
            raise ValueError(f"--resume {folder}: there is no {FILE} to go on from")
        self.cases = self._read()

    @property
    def rows(self) -> list[Row]:
        """The rows of all cases, in the order in which they were measured."""
        return [row for rows in self.cases.values() for row in rows]

    def add(self, case: str, rows: list[Row]) -> None:
        """Append a case."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"case": case, "machine": self.machine, "rows": rows}) + "\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode())
        self.cases[case] = rows

    def _read(self) -> dict[str, list[Row]]:
        """Return the rows of each case; a last line that was cut is taken off the file."""
        if not self.path.exists():
            return {}
        text = self.path.read_text()
        whole = text[: text.rfind("\n") + 1]
        lines = [json.loads(line) for line in whole.splitlines()]
        others = [line["machine"] for line in lines if line["machine"] != self.machine]
        if others:
            raise ValueError(
                f"--resume {self.folder}: it was measured on {others[0]}, and this is "
                f"{self.machine}: their figures are not to be mixed"
            )
        if whole != text:
            self.path.write_text(whole)
        return {line["case"]: line["rows"] for line in lines}
