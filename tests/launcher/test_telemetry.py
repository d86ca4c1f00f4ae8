"""Telemetry: what it says of links and steps, by formulas; and nothing is done where it is off."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.observers.contract import Evaluated, Run, Stepped
from experiments.observers.telemetry import Telemetry
from experiments.results.metric import Metric
from experiments.results.summary import Summary
from experiments.results.telemetry import NAME, UPDATE, read
from tests.test_watching import Counting
from xformopt import ParamTransformingOptimizer
from xformopt import transforms as T
from xformopt.optim import Route, RoutedOptimizer

SHORT = ("trainer.epochs=null", "trainer.steps=25", "trainer.eval_every=10", "model.width=4")


def run_in(folder: Path, model: nn.Module, begin: int = 0) -> Run:
    goal: Any = Metric("loss")
    none: Any = None
    return Run("", "", goal, (goal,), begin, 9, 1, folder, model, none, none, none)


def stepped(folder: Path, optimizer: Any, grads: list[list[Tensor]], every: int = 1) -> list[Any]:
    """Make a step by each of some gradients; return the lines that it leaves."""
    telemetry = Telemetry(optimizer, every)
    telemetry.start(run_in(folder, nn.Linear(1, 1)))
    for step, given in enumerate(grads, 1):
        params = [p for group in optimizer.param_groups for p in group["params"]]
        for p, grad in zip(params, given, strict=True):
            p.grad = grad.clone()
        optimizer.step()
        telemetry.on(Stepped(step))
    telemetry.on(Evaluated(len(grads), {}, 0.0, False))
    telemetry.end(Summary("finished"))
    return read(folder)


def test_of_a_link_and_of_a_step(tmp_path: Path):
    w = torch.tensor([3.0, 4.0])
    optimizer = ParamTransformingOptimizer(
        [w], torch.optim.SGD, lr=1.0, transforms=[T.clamp(min=-1.0, max=1.0)], param_ndim=None
    )
    clamp, whole = stepped(tmp_path, optimizer, [[torch.tensor([4.0, 0.0])]])
    assert clamp == {
        "step": 1,
        "link": "clamp",
        "route": "",
        "group": 0,
        "before": 4.0,
        "after": 1.0,
        "cosine": 1.0,
        "zeros": 0.5,
        "changed": 0.5,
        "distance": 3.0,
    }
    assert whole.pop("angle") == pytest.approx(
        math.degrees(math.atan2(4, 2) - math.atan2(4, 3)), rel=1e-5
    )
    assert whole == {
        "step": 1,
        "link": UPDATE,
        "route": "",
        "group": 0,
        "ratio": pytest.approx(0.2),
    }


def test_each_group_and_route_has_lines_of_its_own(tmp_path: Path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    routes = {"weights": Route("*weight", transforms=[T.sign()]), "rest": Route()}
    routed = RoutedOptimizer(model, routes=routes, lr=0.1)
    params = [p for group in routed.param_groups for p in group["params"]]
    lines = stepped(tmp_path, routed, [[torch.ones_like(p) for p in params]])
    found = [(line["link"], line["route"], line["group"]) for line in lines]
    assert found == [("weights.sign", "weights", 0), (UPDATE, "weights", 0), (UPDATE, "rest", 0)]


def test_groups_are_told_apart(tmp_path: Path):
    groups: Any = [{"params": [torch.ones(2)]}, {"params": [torch.ones(3), torch.ones(1)]}]
    optimizer = ParamTransformingOptimizer(groups, lr=0.1, transforms=[T.sign()])
    grads = [torch.full((2,), 2.0), torch.full((3,), 3.0), torch.full((1,), 3.0)]
    lines = stepped(tmp_path, optimizer, [grads])
    assert [line["before"] for line in lines if line["link"] == "sign"] == [
        pytest.approx(8**0.5),
        6.0,
    ]


def test_every_so_many_steps_are_watched(tmp_path: Path):
    w = torch.ones(2)
    optimizer = ParamTransformingOptimizer([w], lr=0.1, transforms=[T.sign()])
    lines = stepped(tmp_path, optimizer, [[torch.ones(2)]] * 7, every=3)
    assert [line["step"] for line in lines if line["link"] == UPDATE] == [1, 4, 7]


def test_steps_that_are_not_watched_cost_nothing():
    """They ask torch of nothing beyond what they do without telemetry; watched ones do."""

    def calls(telemetry: bool, steps: int) -> list[list[str]]:
        w = torch.ones(2)
        optimizer = ParamTransformingOptimizer([w], lr=0.1, transforms=[T.sign()])
        watching = Telemetry(optimizer, 2)
        if telemetry:
            watching.start(run_in(Path("nowhere"), nn.Linear(1, 1)))
        made = []
        for step in range(1, steps + 1):
            w.grad = torch.ones(2)
            with Counting() as counting:
                optimizer.step()
            made.append(counting.calls)
            watching.on(Stepped(step)) if telemetry else None
        return made

    plain, watched = calls(False, 3), calls(True, 3)
    assert watched[1] == plain[1]
    assert len(watched[2]) > len(plain[2])


class TestInTheLauncher:
    def test_off_it_registers_nothing(self, cli: Any, monkeypatch: Any):
        begun, start = [], Telemetry.start
        monkeypatch.setattr(Telemetry, "start", lambda *args: (begun.append(1), start(*args))[1])
        result, watched = cli(*SHORT), cli(*SHORT, "telemetry=true")
        assert begun == [1]
        assert (result.folder / NAME).exists() is not (watched.folder / NAME).exists()

    def test_it_changes_no_figure(self, cli: Any):
        lines = [
            [{k: v for k, v in line.items() if k != "seconds"} for line in result.metrics]
            for result in (cli(*SHORT), cli(*SHORT, "telemetry=7"))
        ]
        assert lines[0] == lines[1]

    def test_it_tells_no_jobs_apart(self, cli: Any):
        first, second = (cli(*SHORT, *more).read("summary.json") for more in ([], ["telemetry=5"]))
        assert first["identity"] == second["identity"]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["telemetry=0"], "`telemetry` must be an int >= 1, got 0"),
            (["telemetry=often"], "`telemetry` must be an int >= 1, got 'often'"),
            (
                ["telemetry=true", "optim.compile=true"],
                "`telemetry` must be false for compiled steps, whose links cannot be watched, got "
                "True; `optim.compile=false`",
            ),
        ],
    )
    def test_refuses(self, cli: Any, words: list[str], said: str):
        result = cli(*SHORT, *words)
        assert result.status == 2
        assert result.line == f"error: {said}"
