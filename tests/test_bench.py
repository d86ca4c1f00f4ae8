"""The bench runs as its users run it; its figures are not judged here."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.bench import __main__ as program
from experiments.bench import groups, startup, training
from experiments.bench.case import Case, Measured, ratio
from experiments.bench.changing import Half
from experiments.bench.names import NAMES
from experiments.bench.peers import found
from experiments.bench.ranks import LINKS, time_ranks
from experiments.bench.sets import SETS

CPU = torch.device("cpu")
quiet = pytest.mark.filterwarnings("ignore:TypedStorage:UserWarning")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the bench in this process, with results in a folder; return its status and rows."""

    def run(*arguments: str, into: str = "--out") -> tuple[int, list[dict[str, Any]]]:
        folder = tmp_path / "results"
        monkeypatch.setattr(sys, "argv", ["bench", *arguments, into, str(folder)])
        status = program.main()
        lines = (folder / "results.jsonl").read_text().splitlines()
        return status, [row for line in lines for row in json.loads(line)["rows"]]

    return run


@quiet
def test_links_are_measured_beside_rai_toolbox(bench: Any, tmp_path: Path, capsys: Any) -> None:
    status, rows = bench("--rounds", "2", "--only", "links, vit_tiny, SGD, sign")
    assert status == 0
    assert [row["who"] for row in rows] == ["xformopt", "rai_toolbox"]
    for row in rows:
        assert row["low"] <= row["median"] <= row["high"]
        assert row["memory"] < 1
    assert rows[0]["met"] == (rows[0]["median"] <= rows[0]["goal"])
    assert (tmp_path / "results" / "bench.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "results" / "copies.png").stat().st_size > 1000


@quiet
def test_names_are_measured_over_those_of_rai_toolbox(
    bench: Any, tmp_path: Path, capsys: Any
) -> None:
    _, (row,) = bench("--rounds", "2", "--only", "names, vit_tiny, SGD, SignedGradientOptim")
    assert row["entry"] == "xformopt.optim.SignedGradientOptim"
    assert row["figure"] == "step over rai_toolbox"
    assert row["goal"] == 0.7
    assert "| xformopt.optim.SignedGradientOptim |" in capsys.readouterr().out
    assert (tmp_path / "results" / "names.png").stat().st_size > 1000


@quiet
def test_all_names_stand_beside_the_same_name_on_all_sets() -> None:
    cases = [case for case in program.all_cases(CPU) if case.kind == "names"]
    assert {(case.set, case.what) for case in cases} == {(s, n) for s in SETS for n in NAMES}
    for case in cases:
        ours, theirs = (case.entries[who].split("(")[0] for who in ("xformopt", "rai_toolbox"))
        assert found("xformopt.optim", ours.removeprefix("xformopt.optim."))
        assert ours.removeprefix("xformopt.optim.") == theirs.removeprefix("rai_toolbox.optim.")


@quiet
def test_each_case_has_a_name_of_its_own_and_figures_of_its_entries() -> None:
    cases = list(program.all_cases(CPU))
    assert len({case.label for case in cases}) == len(cases)
    for case in cases:
        assert case.figures
        assert {figure.of for figure in case.figures} <= case.entries.keys()


@quiet
def test_many_groups_are_measured_over_one(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUPS", 5)
    _, rows = bench("--rounds", "2", "--only", "groups, 5 × (8, 8), a group each, SGD, l2_norm")
    assert [row["who"] for row in rows] == ["xformopt", "bare", "rai_toolbox"]
    assert rows[0]["entry"] == "ParamTransformingOptimizer(transforms=[l2_norm])"


def test_each_group_holds_one_parameter_at_a_rate_of_its_own() -> None:
    params = [torch.zeros(2, requires_grad=True) for _ in range(4)]
    for who, (_, build) in groups._optimizers("adam").items():
        many, one = groups._both(who, "", build).values()
        built = many.build(params).param_groups
        assert [len(group["params"]) for group in built] == [1] * 4
        assert len({group["lr"] for group in built}) == 4
        assert [len(group["params"]) for group in one.build(params).param_groups] == [4]


def test_another_half_of_the_gradients_is_there_at_each_call() -> None:
    params = [torch.zeros(2) for _ in range(20)]
    grads = [torch.full((2,), float(i)) for i in range(20)]
    for another in (True, False):
        half, seen = Half(another=another), list[frozenset[int]]()
        for _ in range(4):
            half(params, grads)
            seen.append(frozenset(i for i, p in enumerate(params) if p.grad is not None))
            assert all(map(torch.equal, params, grads))
            assert all(torch.equal(_grad(params[i]), grads[i]) for i in seen[-1])
        assert {len(chosen) for chosen in seen} == {10}
        assert len(set(seen)) == (4 if another else 1)


def _grad(x: Tensor) -> Tensor:
    assert x.grad is not None
    return x.grad


def test_two_ranks_are_measured() -> None:
    times = time_ranks(2, side=16)
    assert times.keys() == LINKS.keys()
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in times.values())


def _case(name: str, measure: Any) -> Case:
    return Case(name, "", "", "", {"a": "a()"}, [ratio("a", "b", "a over b")], measure)


def _measured(rounds: int, device: torch.device) -> Measured:
    return Measured({"a": [1.0] * rounds, "b": [2.0] * rounds}, {})


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_keeps_what_it_has_and_is_gone_on_with(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, number: int
) -> None:
    def stopped(rounds: int, device: torch.device) -> Measured:
        signal.raise_signal(number)
        raise AssertionError("it went on")

    first, second = _case("first", _measured), _case("second", stopped)
    monkeypatch.setattr(program, "all_cases", lambda device: [first, second])
    status, rows = bench("--rounds", "2")
    assert status == 128 + number
    assert [row["kind"] for row in rows] == ["first"]
    assert "a()" in (tmp_path / "results" / "bench.md").read_text()
    assert "stopped: what was measured until now is kept" in capsys.readouterr().err
    with (tmp_path / "results" / "results.jsonl").open("a") as file:
        file.write('{"case": "half a line')
    again = [first._replace(measure=stopped), second._replace(measure=_measured)]
    monkeypatch.setattr(program, "all_cases", lambda device: again)
    status, rows = bench("--rounds", "2", into="--resume")
    assert status == 0
    assert [(row["kind"], row["median"]) for row in rows] == [("first", 0.5), ("second", 0.5)]


def test_results_are_neither_overwritten_nor_mixed(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(program, "all_cases", lambda device: [_case("first", _measured)])
    with pytest.raises(SystemExit, match="2"):
        bench("--rounds", "2", into="--resume")
    assert "there is no results.jsonl to go on from" in capsys.readouterr().err
    bench("--rounds", "2")
    before = (tmp_path / "results" / "results.jsonl").read_text()
    with pytest.raises(SystemExit, match="2"):
        bench("--rounds", "2")
    assert "holds results already: take another, or --resume" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        bench("--rounds", "3", into="--resume")
    assert "their figures are not to be mixed" in capsys.readouterr().err
    assert (tmp_path / "results" / "results.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nothing"], "--only 'nothing' is part of no case's name"),
        (["--rounds", "1"], "--rounds must be an int >= 2, for a spread; got 1"),
        (["--rounds", "few"], "argument --rounds: invalid int value: 'few'"),
        (["--threads", "0"], "--threads must be an int >= 1; got 0"),
        (["--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
    ],
)
@quiet
def test_what_it_cannot_measure(bench: Any, capsys: Any, arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench(*arguments)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_threads_are_torchs(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "all_cases", lambda device: [_case("first", _measured)])
    before = torch.get_num_threads()
    try:
        bench("--threads", "1")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "case"), [("start-up", startup), ("training", training)])
def test_programs(bench: Any, kind: str, case: Any) -> None:
    _, rows = bench("--rounds", "2", "--only", kind)
    expected = [figure.words for made in case.cases() for figure in made.figures]
    assert [row["figure"] for row in rows] == expected
    assert all(0.5 < row["median"] < 20 for row in rows)
