"""What a run shows: its bar, its curves, and what its network takes for what."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.figure
import pytest
import torch
from torch import Tensor, nn

from experiments.observers import console
from experiments.observers.contract import Run
from experiments.observers.curves import Curves, by_metric
from experiments.observers.mistakes import Mistakes, confusion, worst
from experiments.results.metric import Metric
from experiments.results.summary import Summary

SHORT = ("model=mlp", "model.hidden=[8]", "trainer.steps=20", "trainer.checkpoint=none")


@pytest.fixture
def drawn(monkeypatch: Any) -> dict[str, Any]:
    """Keep each figure as it is saved, by the name of its file."""
    found: dict[str, Any] = {}
    save = matplotlib.figure.Figure.savefig

    def keep(self: Any, path: Path, **settings: Any) -> None:
        found[Path(path).name.removesuffix(".part")] = self
        save(self, path, **settings)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    return found


def run_in(folder: Path) -> Run:
    accuracy = Metric("accuracy", "max")
    return Run(
        name="images",
        title="images · SGD",
        goal=accuracy,
        metrics=(accuracy,),
        begin=0,
        steps=1,
        batch=1,
        folder=folder,
        model=nn.Identity(),
        models=lambda: (),
        precision=nullcontext,
        rate=lambda: 0.1,
    )


def mistakes(folder: Path, logits: Tensor, labels: Tensor, pixels: Tensor, *names: str) -> None:
    observer = Mistakes(lambda _: (logits, labels), lambda chosen: pixels[chosen], names)
    observer.start(run_in(folder))
    observer.end(Summary("finished"))


class TestCurves:
    def test_train_valid_and_averages_share_an_axis(self, cli: Any, drawn: dict[str, Any]):
        assert cli(*SHORT, "trainer.eval_every=5", "trainer.ema=0.9", "pictures=true").status == 0
        loss, accuracy = drawn["curves.png"].axes
        assert [line.get_label() for line in loss.lines] == ["train", "valid", "ema valid"]
        assert [line.get_label() for line in accuracy.lines] == ["valid", "ema valid"]
        assert [line.get_color() for line in loss.lines[1:]] == [
            line.get_color() for line in accuracy.lines
        ]
        assert [*loss.lines[1].get_xdata()] == [0, 5, 10, 15, 20]
        assert [line.get_linestyle() for line in loss.lines] == ["-", "-", "--"]
        assert loss.get_xlim() == accuracy.get_xlim()
        assert all(float(tick).is_integer() for tick in loss.get_xticks())

    @pytest.mark.parametrize(
        ("values", "scale"),
        [([3, 2], "linear"), ([3, 0.2], "log"), ([3, 0], "symlog"), ([3, -2], "linear")],
    )
    def test_the_scale_shows_what_the_values_span(
        self, tmp_path: Path, drawn: dict[str, Any], values: list[float], scale: str
    ):
        lines = [json.dumps({"step": i, "gap": value}) for i, value in enumerate(values)]
        (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
        observer = Curves()
        observer.start(replace(run_in(tmp_path), metrics=(Metric("gap", scale="log"),)))
        observer.end(Summary("finished"))
        assert drawn["curves.png"].axes[0].get_yscale() == scale

    def test_the_longest_name_of_a_metric_counts(self):
        metrics = (Metric("accuracy"), Metric("top_accuracy"))
        names = ("valid_accuracy", "valid_top_accuracy")
        assert by_metric(names, metrics) == {
            "accuracy": {"valid_accuracy": "valid"},
            "top_accuracy": {"valid_top_accuracy": "valid"},
        }


class TestMistakes:
    def test_are_those_of_the_test_part(self, cli: Any, drawn: dict[str, Any]):
        result = cli(*SHORT, "pictures=true")
        numbers = [int(text.get_text()) for text in drawn["confusion.png"].axes[0].texts]
        assert sum(numbers) == 360
        accuracy = result.read("summary.json")["final"]["test_accuracy"]
        right = [
            int(text.get_text())
            for text in drawn["confusion.png"].axes[0].texts
            if text.get_position()[0] == text.get_position()[1]
        ]
        assert sum(right) / 360 == pytest.approx(accuracy)
        assert "confusion.png, curves.png, worst.png" in result.out

    def test_the_surest_come_first(self):
        torch.manual_seed(0)
        logits, labels = torch.randn(200, 3), torch.randint(3, (200,))
        chosen, sure = worst(logits, labels, 50)
        assert (logits[chosen].argmax(1) != labels[chosen]).all()
        assert (sure.diff() <= 0).all()
        assert confusion(logits.argmax(1), labels, 3).sum() == 200

    @pytest.mark.parametrize(("channels", "classes"), [(3, 60), (1, 20), (2, 3)])
    def test_of_any_channels_and_classes(
        self, tmp_path: Path, drawn: dict[str, Any], channels: int, classes: int
    ):
        torch.manual_seed(0)
        logits, labels = torch.randn(100, classes), torch.randint(classes, (100,))
        pixels = torch.randint(256, (100, channels, 5, 7), dtype=torch.uint8)
        mistakes(tmp_path, logits, labels, pixels, *(f"class {i}" for i in range(classes - 1)))
        assert {path.name for path in tmp_path.iterdir()} == {"confusion.png", "worst.png"}
        shown = drawn["worst.png"].axes
        assert len(shown) == 24
        assert "class" in shown[0].get_title()

    def test_classes_that_nothing_is_of_or_taken_for_are_left_out(
        self, tmp_path: Path, drawn: dict[str, Any]
    ):
        logits, labels = torch.eye(100)[[3, 50, 99]], torch.tensor([3, 3, 99])
        mistakes(tmp_path, logits, labels, torch.zeros(3, 1, 2, 2))
        marked = drawn["confusion.png"].axes[0].get_xticklabels()
        assert [text.get_text() for text in marked] == ["3", "50", "99"]
        assert [axis.get_title() for axis in drawn["worst.png"].axes] == ["3 → 50\n3%", "", ""]

    def test_a_long_title_fits(self, tmp_path: Path, drawn: dict[str, Any]):
        title = " → ".join(["orthogonalize"] * 6)
        logits, labels = torch.eye(2)[[0, 1]], torch.tensor([0, 0])
        observer = Mistakes(lambda _: (logits, labels), lambda _: torch.zeros(1, 1, 2, 2), ())
        observer.start(replace(run_in(tmp_path), title=title))
        observer.end(Summary("finished"))
        for figure in drawn.values():
            texts = [figure.axes[0].title] if figure._suptitle is None else [figure._suptitle]
            for text in texts:
                box = text.get_window_extent()
                assert box.x0 >= 0
                assert box.x1 <= figure.bbox.x1

    def test_none_are_not_drawn(self, tmp_path: Path):
        mistakes(tmp_path, torch.eye(3), torch.arange(3), torch.zeros(3, 1, 2, 2))
        assert {path.name for path in tmp_path.iterdir()} == {"confusion.png"}


class TestConsole:
    def test_lines_tell_rate_and_speed(self, cli: Any):
        first, last = cli(*SHORT, "schedule=linear").out.splitlines()[:2]
        assert first.startswith("digits  step 0/20  valid_loss ")
        assert first.endswith("  lr 0.001")
        assert "  lr 0  " in last
        assert last.endswith(" images/s")

    def test_the_last_line_is_shown_and_those_left_out_are_counted(self, cli: Any):
        shown = cli(*SHORT, "trainer.steps=60", "trainer.eval_every=1", "trainer.patience=57")
        lines = [line for line in shown.out.splitlines() if line.startswith("digits  ")]
        last = shown.metrics[-1]["step"]
        assert any(line.startswith(f"digits  step {last}/60") for line in lines)
        left_out = len(shown.metrics) - (len(lines) - 1)
        assert lines[-1] == f"digits  {left_out} more evaluations in metrics.jsonl"
        assert left_out > 20
        assert "more evaluation" not in cli(*SHORT).out

    def test_a_bar_where_there_is_a_terminal(self, cli: Any, monkeypatch: Any):
        terminal = SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr(console, "sys", terminal)
        monkeypatch.setenv("COLUMNS", "120")
        out = " ".join(cli(*SHORT).out.split())
        assert "digits ━━━━━━━━━━━━ 20/20 0:00:00 lr 0.001" in out
        assert "images/s loss" in out
        assert "valid_accuracy" in out
