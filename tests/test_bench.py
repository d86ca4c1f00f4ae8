"""The bench runs as its users run it; its figures are not judged here."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.bench.__main__ import main
from experiments.bench.startup import FIGURES


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the bench in this process, with results in an empty folder; return its rows."""

    def run(*arguments: str) -> list[dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments, "--out", str(tmp_path)])
        assert main() == 0
        return json.loads((tmp_path / "bench.json").read_text())["rows"]

    return run


@pytest.mark.filterwarnings("ignore:TypedStorage:UserWarning")
def test_a_case_is_measured_beside_rai_toolbox(bench: Any, tmp_path: Path, capsys: Any) -> None:
    rows = bench("--rounds", "2", "--only", "vit_tiny, SGD, sign")
    assert [row["who"] for row in rows] == ["xformopt", "rai_toolbox"]
    for row in rows:
        assert row["low"] <= row["median"] <= row["high"]
        assert row["memory"] < 1
    assert rows[0]["met"] == (rows[0]["median"] <= rows[0]["goal"])
    assert (tmp_path / "bench.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "bench.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nothing"], "--only 'nothing' is part of no case's name"),
        (["--rounds", "1"], "--rounds must be an int >= 2, for a spread; got 1"),
    ],
)
def test_what_it_cannot_measure(bench: Any, capsys: Any, arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench(*arguments)
    assert said in capsys.readouterr().err


@pytest.mark.long
def test_programs_that_start(bench: Any) -> None:
    rows = bench("--rounds", "2", "--only", "start-up")
    assert [row["figure"] for row in rows] == [words for _, _, words, _ in FIGURES]
    assert all(0.5 < row["median"] < 20 for row in rows)
