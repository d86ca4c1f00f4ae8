"""Attacks and corruptions in every run: figures, files, pictures, and what is refused."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.data.digits import digits
from experiments.evaluation.robustness import Robustness
from experiments.observers.robustness import draw
from experiments.results import evaluations
from experiments.results.evaluations import Evaluation, Record
from experiments.results.metric import Metric
from xformopt.perturbations import CORRUPTIONS, fgsm

SHORT = ["trainer.epochs=2", "model.width=4"]
PGD = ["eval.attacks=[pgd_linf]", "eval.attacks.pgd_linf.steps=5"]
RADII = "eval.epsilon=[0,0.05,16/255]"


def done(result: Any) -> dict[str, Any]:
    assert result.status == 0, result.err
    return result.read("summary.json")


class TestFigures:
    def test_of_the_last_and_the_best_weights_on_test(self, cli: Any):
        result = cli(*SHORT, *PGD, RADII)
        summary = done(result)
        for figures in (summary["final"], summary["best"]):
            clean, none, small, large = (
                figures[f"test_{name}_accuracy"]
                for name in ("clean", "pgd_linf_0", "pgd_linf_0.05", "pgd_linf_0.06275")
            )
            assert clean == none == figures["test_accuracy"]
            assert clean > small > large
        found = evaluations.read(result.folder)
        assert {(one.weights, one.split, one.count) for one in found} == {
            ("last", "test", 360),
            ("best", "test", 360),
        }
        under = [one for one in found if one.kind == "attack"]
        assert all(one.settings["steps"] == 5 for one in under)
        assert [one.level for one in under[:3]] == [0, 0.05, 16 / 255]
        assert "test_accuracy" in result.out

    def test_on_valid_in_training(self, cli: Any):
        result = cli(*SHORT, *PGD, "eval.every=2", "eval.epsilon=0.1", "trainer.eval_every=7")
        done(result)
        judged = [line["step"] for line in result.metrics if "valid_pgd_linf_0.1_accuracy" in line]
        assert judged == [14, 28, 42]
        assert not any("test" in name for line in result.metrics for name in line)

    def test_on_some_images(self, cli: Any):
        """They are the same whatever the seed of the run."""
        counts = [
            {one.count for one in evaluations.read(cli(*SHORT, *PGD, "eval.subset=50").folder)},
            {len(Robustness({"fgsm": fgsm()}, subset=50).part(digits().test))},
        ]
        assert counts == [{50}, {50}]
        once, again = (Robustness({"fgsm": fgsm()}, subset=50).part(digits().test) for _ in "12")
        assert torch.equal(once.pixels, again.pixels)
        assert len({bytes(image.numpy()) for image in once.pixels}) == 50

    def test_of_averages(self, cli: Any):
        summary = done(cli(*SHORT, *PGD, "eval.epsilon=0.1", "trainer.ema=0.9"))
        assert {"test_pgd_linf_0.1_accuracy", "ema_test_pgd_linf_0.1_accuracy"} <= {
            *summary["final"]
        }

    def test_of_several_attacks_as_one(self, cli: Any):
        several = ["eval.attacks=[pgd_linf,square_linf]", "eval.attacks.square_linf.queries=20"]
        several += ["eval.attacks.pgd_linf.steps=3", "eval.epsilon=0.1"]
        each, worst = (done(cli(*SHORT, *several, *more))["final"] for more in ([], [WORST]))
        left = worst["test_worst_of_0.1_accuracy"]
        assert left <= min(each[f"test_{a}_linf_0.1_accuracy"] for a in ("pgd", "square"))
        assert "test_pgd_linf_0.1_accuracy" not in worst

    def test_what_was_trained_is_as_without(self, cli: Any):
        plain, attacked = (cli(*SHORT, *more) for more in ([], [*PGD, "eval.every=1"]))
        for one, other in zip(plain.metrics, attacked.metrics, strict=True):
            assert all(other[name] == one[name] for name in one if name != "seconds")

    def test_in_the_leaderboard(self, cli: Any):
        result = cli("-m", *SHORT, *PGD, "eval.epsilon=0.1", "optim=lion,muon", "seed=0,1")
        assert result.status == 0, result.err
        assert "| pgd_linf_0.1 " in result.out
        header, first, *_ = (result.folder / "leaderboard.csv").read_text().splitlines()
        column = header.split(",").index("pgd_linf_0.1")
        jobs = result.summaries
        own = [
            j["final"]["test_pgd_linf_0.1_accuracy"] for j in jobs if "optim=muon" in j["overrides"]
        ]
        cells = next(csv.reader([first]))
        assert float(cells[column]) == pytest.approx(sum(own) / 2)


WORST = "eval.worst_of=true"


class TestCorruptions:
    def test_all_that_act_on_such_images(self, cli: Any):
        result = cli(*SHORT, "eval.corruptions=true", "eval.severities=[1,5]", "eval.subset=40")
        final = done(result)["final"]
        found = [one for one in evaluations.read(result.folder) if one.kind == "corruption"]
        acting = {name for name, made in CORRUPTIONS.items() if not made.needs_color}
        assert {one.name for one in found} == acting
        mean = sum(one.metrics["accuracy"] for one in found) / len(found)
        assert final["test_corrupted_accuracy"] == pytest.approx(mean)
        assert final["test_corrupted_fog_accuracy"] == pytest.approx(
            sum(o.metrics["accuracy"] for o in found if o.name == "fog" and o.weights == "last") / 2
        )
        assert "final, corrupted" in result.out

    @pytest.fixture
    def files(self, tmp_path: Path) -> Path:
        """Clean images at the least severity, black ones at all others."""
        test = digits().test
        pixels = torch.zeros(5, *test.pixels.shape, dtype=torch.uint8)
        pixels[0] = test.pixels
        images = pixels.flatten(0, 1).permute(0, 2, 3, 1).numpy()
        folder = tmp_path / "digits-c"
        folder.mkdir()
        np.save(folder / "mine.npy", images)
        np.save(folder / "labels.npy", test.labels.repeat(5).numpy().astype("int32"))
        return folder

    def test_of_files(self, cli: Any, files: Path):
        result = cli(*SHORT, "eval.corruptions=true", f"eval.files={files}", "eval.every=1")
        summary = done(result)
        found = {o.level: o.metrics["accuracy"] for o in evaluations.read(result.folder) if o.level}
        assert found[1] == summary["best"]["test_accuracy"]
        assert all(found[severity] < 0.2 for severity in (2, 3, 4, 5))
        assert not any("mine" in name for line in result.metrics for name in line)

    @pytest.mark.parametrize(
        ("name", "array", "said"),
        [
            (
                "mine",
                np.zeros((10, 8, 8), "uint8"),
                r"must be uint8 of shape \(N, 8, 8, 1\)",
            ),
            ("mine", np.zeros((10, 8, 8, 1)), "got float64 of shape"),
            ("labels", np.full(1800, 10), "must have a label below 10 for each image"),
            ("labels", np.zeros(9, int), "must have a label below 10 for each image, got 9 from"),
        ],
    )
    def test_refuses_files(self, cli: Any, files: Path, name: str, array: Any, said: str):
        np.save(files / f"{name}.npy", array)
        result = cli(*SHORT, "eval.corruptions=[mine]", f"eval.files={files}")
        assert result.status == 2
        assert re.search(said, result.line), result.line


BAD = {
    "eval.attacks=[pgd]": r"`eval/attacks=pgd`: there is no such option; did you mean `pgd_l",
    "eval.epsilon=0.1": r"`eval.epsilon` must be null without `eval.attacks`, got 0.1; `'eval",
    "eval.every=1": r"`eval.every` must be null without attacks or corruptions, got 1",
    "eval.subset=5": r"`eval.subset` must be null without attacks or corruptions, got 5",
    "eval.worst_of=true": r"`eval.worst_of` must be false without `eval.attacks`, got True",
    "eval.files=there": r"`eval.files` must be null without `eval.corruptions`, got 'there'",
    "eval.severities=[1]": r"`eval.severities` must be null without `eval.corruptions`",
    "eval.corruptions=fog": r"`eval.corruptions` must be true, false or a list of names, got",
    "eval.corruptions=[frog]": r"`eval.corruptions` must be names.*did you mean `fog`\?",
    "eval.corruptions=[saturate]": r"`eval.corruptions` must be of those that act on images",
    "eval=null": r"`eval` takes a name, got None; there are: `eval=default`",
}
BAD_ATTACK = {
    "eval.epsilon=-0.1": r"`eval.epsilon` must be a finite number >= 0, got -0.1",
    "eval.epsilon=[]": r"`eval.epsilon` must be at least one radius, or null, got",
    "eval.epsilon=[0.1,0.1]": r"`eval.epsilon` must be a list of radii that differ in four dig",
    "eval.attacks.pgd_linf.step_size=5": r"pgd_linf.step_size` must be at most 1, by which the",
    "eval.epsilon=2": r"`eval.attacks.pgd_linf.epsilon` must be at most 1, by which the linf",
    "eval.epsilon=[0.1,x]": r"`eval.epsilon` must be a number >= 0, or a fraction as '8/255'",
    "eval.attacks.pgd_linf.step_size=-1": r"`step_size` of `pgd_linf` must be a number > 0 or No",
    "eval.attacks.pgd_linf.stepsize=1": r"`eval.attacks.pgd_linf.stepsize`: there is no such",
    "eval.attacks.pgd_linf.targeted=true": r"`eval.attacks.pgd_linf.targeted` must be false",
    "eval.attacks.pgd_linf.steps=0": r"`steps` of `pgd_linf` must be an int >= 1, got 0",
    "eval.subset=0": r"`eval.subset` must be an int >= 1 or null, got 0",
    "task=rosenbrock": r"`eval.attacks` must be \[\] for a task that reads no data",
}


class TestRefuses:
    @pytest.mark.parametrize("override", BAD)
    def test_settings(self, cli: Any, override: str):
        result = cli(*SHORT, override)
        assert result.status == 2
        assert re.search(BAD[override], result.line), result.line
        assert not (result.folder / "metrics.jsonl").exists()

    @pytest.mark.parametrize("override", BAD_ATTACK)
    def test_an_attack(self, cli: Any, override: str):
        result = cli("eval.attacks=[pgd_linf]", override)
        assert result.status == 2
        assert re.search(BAD_ATTACK[override], result.line), result.line
        assert not (result.folder / "evaluations.jsonl").exists()

    def test_what_two_settings_say(self, cli: Any):
        own = "eval.attacks.pgd_linf.epsilon=0.2"
        assert "must be left out beside `eval.epsilon`" in cli(*PGD, own, "eval.epsilon=0.1").line
        norms = ["eval.attacks=[pgd_linf,pgd_l2]", WORST]
        assert "`eval.worst_of` must be false for attacks in several norms" in cli(*norms).line

    def test_dlr_of_two_classes(self, cli: Any, tmp_path: Path):
        images = torch.randint(0, 256, (60, 8, 8), dtype=torch.uint8)
        np.savez(tmp_path / "two.npz", x=images.numpy(), y=(torch.arange(60) % 2).numpy())
        chosen = ["task=classification", "data=npz", f"data.file={tmp_path / 'two.npz'}"]
        chosen += ["model=small_cnn", "eval.attacks=[apgd_linf]", "eval.attacks.apgd_linf.loss=dlr"]
        assert (
            "`eval.attacks.apgd_linf.loss` must be ce or margin for 2 classes, since dlr needs 3"
            in cli(*chosen).line
        )


def test_pictures(cli: Any):
    both = ["eval.attacks=[fgsm]", "eval.epsilon=[0.05,0.1]", "eval.corruptions=[fog]"]
    result = cli(*SHORT, *both, "pictures=true")
    done(result)
    drawn = {path.name for path in result.folder.glob("*.png")}
    assert {"robustness.png", "corruptions.png", "attacked.png"} <= drawn
    assert result.err == ""


def test_what_is_drawn(tmp_path: Path, monkeypatch: Any):
    """A panel a norm, a line a setting, from the clean images that it was measured on."""

    def found(kind: str, name: str, level: float, hit: float, **about: Any) -> Evaluation:
        about = {"settings": {}, "count": 500} | about
        return Evaluation("last", "", "test", kind, name, level, metrics={"hit": hit}, **about)

    record = Record(tmp_path)
    for one in (
        found("clean", "clean", 0, 0.9),
        found("clean", "clean", 0, 0.8, count=100),
        found("attack", "pgd", 0.2, 0.3, norm="linf", settings={"steps": 5}),
        found("attack", "pgd", 0.1, 0.5, norm="linf", settings={"steps": 5}),
        found("attack", "pgd", 0.1, 0.4, norm="linf", settings={"steps": 9}),
        found("attack", "fgsm", 0.1, 0.7, norm="linf", count=100),
        found("attack", "pgd_l2", 0.5, 0.6, norm="l2"),
        found("corruption", "fog", 1, 0.8, count=1000),
    ):
        record.keep(one)
    drawn: list[Any] = []
    monkeypatch.setattr("matplotlib.pyplot.close", drawn.append)
    draw(tmp_path, "title", Metric("valid_hit", "max"))
    curves, bars = drawn
    linf, l2 = (
        {line.get_label(): [*zip(*line.get_data(), strict=True)] for line in axis.lines}
        for axis in curves.axes
    )
    assert linf["pgd, steps=5"] == [(0, 0.9), (0.1, 0.5), (0.2, 0.3)]
    assert linf["pgd, steps=9"] == [(0, 0.9), (0.1, 0.4)]
    assert linf["fgsm"] == [(0, 0.8), (0.1, 0.7)]
    assert {*l2} == {"pgd_l2", "clean, 500 images"}
    assert [bar.get_height() for bar in bars.axes[0].patches] == [0.8]
    assert {path.name for path in tmp_path.glob("*.png")} == {"robustness.png", "corruptions.png"}


def test_a_sure_network_is_noted(cli: Any, tmp_path: Path, monkeypatch: Any):
    """Where the answers are probabilities, their gradients vanish."""
    held = "from torch import nn\nfrom experiments import register\n@register.model\n"
    held += "def sure(shape, classes):\n    flat = nn.Flatten(), nn.Linear(shape.numel(), classes)"
    (tmp_path / "sure_parts.py").write_text(
        f"{held}\n    return nn.Sequential(*flat, nn.Softmax(1))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    result = cli("trust=sure_parts", "model=sure", "trainer.epochs=1", *PGD)
    notes = done(result)["notes"]
    assert any("`eval.attacks`: the outputs are probabilities" in note for note in notes)


@pytest.mark.parametrize("written", ["eval.attacks=[fgsm]", "eval/attacks=[fgsm]"])
def test_a_group_may_be_written_with_dots(cli: Any, written: str):
    assert "test_fgsm_0.03137_accuracy" in done(cli(*SHORT, written))["final"]


def test_masked_gradients_are_noted(cli: Any, tmp_path: Path, monkeypatch: Any):
    """Where pixels are rounded, which leaves no gradient, squares break what steps do not."""
    (tmp_path / "rounding_parts.py").write_text(ROUNDING)
    monkeypatch.syspath_prepend(str(tmp_path))
    attacks = ["eval.attacks=[pgd_linf,square_linf]", "eval.epsilon=0.3", "eval.subset=60"]
    few = ["eval.attacks.pgd_linf.steps=3", "eval.attacks.square_linf.queries=60"]
    few += ["eval.attacks.pgd_linf.random_start=false"]
    notes = done(cli("trust=rounding_parts", "model=rounding", *attacks, *few, *SHORT[:1]))["notes"]
    assert any("gradients may be masked" in note for note in notes)
    assert any("pgd_linf 0.3: the gradient was zero for" in note for note in notes)


ROUNDING = """
from torch import nn
from experiments import register


class Rounded(nn.Module):
    def forward(self, x):
        return (4 * x).round() / 4


@register.model
def rounding(shape, classes):
    return nn.Sequential(Rounded(), nn.Flatten(), nn.Linear(shape.numel(), classes))
"""
