"""Settings of the optimizer from the command line, and what is said of them."""

from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
SHORT = ["task=himmelblau", "trainer.steps=20", "task.starts=4"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim.param_ndim=1"],
        ["optim/inner=adamw", "optim.inner.lr=3e-3"],
        ["optim/transforms=[top_q,sign]", "optim.transforms.top_q.q=0.7"],
        ["optim.grad_scale=0.5", "optim.grad_bias=0.01"],
        ["optim.inner._target_=torch.optim.NAdam"],
        ["optim.param_ndim=2"],
        ["optim/inner=lbfgs"],
        ["device=cpu"],
    ],
    ids=" ".join,
)
def test_train_the_default_task(cli: Any, overrides: list[str]):
    result = cli("trainer.steps=3", *overrides)
    assert result.status == 0, result.err
    assert result.read("summary.json")["status"] == "finished"


def test_change_the_numbers(cli: Any):
    settings = [
        [],
        ["optim.param_ndim=0"],
        ["optim.grad_bias=0.5"],
        ["optim/transforms=[]"],
        ["optim/inner=rmsprop"],
    ]
    finals = [cli(*SHORT, *s).read("summary.json")["final"]["loss"] for s in settings]
    assert len(set(finals)) == len(settings)


def test_nothing_depends_on_it_said_once_each(cli: Any):
    result = cli("-m", *SHORT, "optim/transforms=[sign]", "optim.param_ndim=0,1", "seed=0,1")
    notes = [line for line in result.out.splitlines() if line.startswith("note: ")]
    assert [note.partition(", since")[0] for note in notes] == [
        "note: `optim.param_ndim=0`: nothing depends on it",
        "note: `optim.param_ndim=1`: nothing depends on it",
        "note: these are identical to the last digit: "
        + "; ".join(
            f"`{' '.join(SHORT)} optim/transforms=[sign] optim.param_ndim={n} pictures=False`"
            for n in "01"
        ),
    ]


def test_a_link_that_changed_nothing(cli: Any):
    result = cli(*SHORT, "optim.transforms.clip_norm.max_norm=1e9")
    said = (
        "the link `clip_norm` changed nothing at any of the 5 steps that were looked at; "
        "`optim.transforms.clip_norm=null` leaves it out"
    )
    assert f"note: {said}\n" in result.out
    assert result.read("summary.json")["notes"] == [said]
    assert "changed nothing" not in cli(*SHORT).out


def test_averages_are_judged_beside_the_weights(cli: Any):
    result = cli(*SHORT, "trainer.ema=0.9", "+optim/transforms=param_ema")
    for figures in (result.metrics[-1], result.read("summary.json")["final"]):
        raw, ema, link = (figures[f"{name}loss"] for name in ("", "ema_", "param_ema_"))
        assert raw < ema < link
    assert "param_ema_loss" in result.out


def test_out_of_memory(cli: Any, monkeypatch: Any):
    def full(*given: Any, **named: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("torch.nn.functional.cross_entropy", full)
    result = cli("trainer.batch_size=32")
    assert result.status == 1
    assert "out of memory: lower `trainer.batch_size` (= 32), or choose a smaller" in result.err
    assert "out of memory" in result.read("summary.json")["error"]


def test_parameters_taken_whole(cli: Any):
    result = cli("trainer.steps=1", "optim.param_ndim=7")
    said = "note: `optim.param_ndim=7`: taken whole, having fewer dimensions: net.0.wei"
    assert said in result.out
    assert "note: " not in cli("trainer.steps=1").out


def test_a_recipe_that_is_not_for_training_networks(cli: Any):
    said = "note: `optim` is a recipe for attacks, and here it trains a network;"
    assert said in cli("trainer.steps=1", "optim=pgd_linf").out
    assert "note: " not in cli(*SHORT, "optim=pgd_linf").out


def test_a_routed_recipe_on_a_toy_and_a_link_taken_away(cli: Any):
    assert cli(*SHORT, "optim=muon").status == 0
    result = cli(*SHORT, "optim.transforms.clip_norm=null")
    assert result.read("summary.json")["transforms"] == []


PLAIN = """
_target_: torch.optim.SGD
_partial_: true
lr: 0.01
"""


def test_an_optimizer_of_another_make(cli: Any, tmp_path: Path):
    (tmp_path / "conf/optim").mkdir(parents=True)
    (tmp_path / "conf/optim/plain.yaml").write_text(PLAIN)
    result = cli("--config-dir", str(tmp_path / "conf"), "optim=plain", "trainer.steps=2")
    assert result.status == 0, result.err
    assert result.read("summary.json")["inner"] == "SGD"
    result = cli("--config-dir", str(tmp_path / "conf"), "optim=plain", "optim.lr=1e30")
    assert "diverged; lower `optim.lr` (= 1e+30)\n" in result.err


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_compile_compiles(cli: Any, monkeypatch: Any):
    compiled, compile = [], torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, **how: compiled.append(f) or compile(f, backend="eager", **how)
    )
    sign = "optim/transforms=[sign]"
    plain, program = (cli(*SHORT, sign, f"optim.compile={on}") for on in ("false", "true"))
    assert len(compiled) == 1
    final = program.read("summary.json")["final"]
    assert final == pytest.approx(plain.read("summary.json")["final"], rel=1e-4)
