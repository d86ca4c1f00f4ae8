"""Trackers keep what a run does, go on where it does, and change none of its numbers."""

import struct
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments import register
from experiments.observers import trackers
from experiments.observers.contract import Observer, Run, Stepped
from experiments.observers.trackers import Tracker
from experiments.results.summary import Summary

SHORT = ("task=himmelblau", "task.starts=4", "pictures=false")
STEPS = ("trainer.steps=8", "trainer.eval_every=2")
CUT = (*SHORT, *STEPS, "trainer.checkpoint_every=3", f"+observers.cut._target_={__name__}.Cut")
AGAIN = (f"trust={__name__}",)
DIVERGES = (*SHORT, "optim.inner.lr=1e20", "trainer.steps=5", "trainer.eval_every=5")


class Cut(Observer):
    """Interrupts a run at its fifth step, unless it was resumed."""

    def start(self, run: Run) -> None:
        self.at = 5 if run.begin == 0 else None

    def on(self, event: Any) -> None:
        if isinstance(event, Stepped) and event.step == self.at:
            raise KeyboardInterrupt

    def end(self, summary: Summary) -> None:
        pass


@register.logger
class Notes(Tracker):
    """Notes what it is told."""

    told: ClassVar[list[Any]] = []

    def open(self, run: Run, config: Mapping[str, Any]) -> None:
        self.told.append(("open", self.id, config))
        self.id = self.id or "first"

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self.told.append(("log", step, dict(figures)))

    def close(self, summary: Summary, figures: Mapping[str, float], step: int) -> None:
        self.told.append(("close", step, summary.status, figures))


@pytest.fixture
def told() -> list[Any]:
    Notes.told.clear()
    return Notes.told


class TestContract:
    def test_config_evaluations_and_what_was_reached(self, cli: Any, told: list[Any]):
        result = cli(*SHORT, *STEPS, "logger=[Notes]", "optim.inner.lr=0.25")
        (_, _, config), *logged, (_, step, status, figures) = told
        assert result.status == 0, result.err
        assert config["title"] == "himmelblau · clip_norm → Adam"
        assert (config["optim.inner.lr"], config["trainer.ema"]) == (0.25, None)
        lines = [("log", x.pop("step"), {**x, "seconds": 0}) for x in result.metrics]
        told_of = [(*x[:2], {**x[2], "seconds": 0}) for x in logged]
        assert [x[2].pop("lr") for x in told_of] == [0.25] * len(lines)
        assert told_of == lines
        final = result.read("summary.json")["final"]
        assert (step, status, figures["final/loss"]) == (8, "finished", final["loss"])

    def test_a_failed_run_is_closed(self, cli: Any, told: list[Any]):
        assert cli(*DIVERGES, "logger=[Notes]").status == 1
        assert [x[:3] for x in (told[0], told[-1])] == [
            ("open", None, told[0][2]),
            ("close", 0, "failed"),
        ]

    def test_each_job_of_a_sweep_has_its_own(self, cli: Any, told: list[Any]):
        cli("-m", *SHORT, *STEPS, "logger=[Notes]", "seed=0,1")
        assert [x[0] for x in told if x[0] != "log"] == ["open", "close"] * 2
        assert [x[1] for x in told if x[0] == "open"] == [None, None]

    def test_a_resumed_run_goes_on_by_its_id(self, cli: Any, told: list[Any]):
        begun = cli(*CUT, "logger=[Notes]")
        assert begun.status == 130
        assert told[-1][:3] == ("close", 4, "interrupted")
        resumed = cli(f"resume={begun.folder}", *AGAIN)
        assert resumed.status == 0, resumed.err
        assert [x[1] for x in told if x[0] == "open"] == [None, "first"]
        assert [x[1] for x in told if x[0] == "log"] == [0, 2, 4, 4, 6, 8]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_a_missing_package(cli: Any, monkeypatch: Any, name: str):
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    result = cli(*SHORT, f"logger=[{name}]")
    way_out = f"it needs the package {name}: `pip install {name}`"
    assert (result.status, result.line) == (2, f"error: `logger.{name}`: {way_out}")
    assert not (result.folder / "config.yaml").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["logger=[wandb]", "logger.wandb.mode=of"], "`logger.wandb.mode` must be offline or"),
        (
            ["logger=[Notes]", "+logger.files=${logger.Notes}"],
            "`logger.files` must be of a name",
        ),
        (
            ["logger=[Notes]", "+observers.Notes=${logger.Notes}"],
            "`logger.Notes` must be of a name",
        ),
    ],
)
def test_a_wrong_command(cli: Any, words: list[str], said: str):
    result = cli(*SHORT, *words)
    assert result.status == 2
    assert said in result.line


class TestTensorBoard:
    def read(self, folder: Path) -> EventAccumulator:
        return EventAccumulator(str(folder)).Reload()

    def steps(self, read: EventAccumulator, name: str) -> list[int]:
        return [event.step for event in read.Scalars(name)]

    def text(self, read: EventAccumulator, name: str) -> str:
        return read.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val[0].decode()

    def test_a_run(self, cli: Any):
        result = cli(*SHORT, *STEPS, "logger=[tensorboard]")
        assert result.status == 0, result.err
        read = self.read(result.folder / "tensorboard")
        losses = [line["loss"] for line in result.metrics]
        assert [x.value for x in read.Scalars("loss")] == pytest.approx(losses)
        assert self.steps(read, "loss") == [0, 2, 4, 6, 8]
        assert self.steps(read, "final/loss") == [8]
        hparams = [*read.PluginTagToContent("hparams")]
        assert hparams == ["_hparams_/session_start_info", "_hparams_/session_end_info"]
        assert b"optim.inner.lr" in read.PluginTagToContent("hparams")[hparams[0]]
        assert self.text(read, "status") == "finished"

    def test_a_failed_run(self, cli: Any):
        result = cli(*DIVERGES, "logger=[tensorboard]")
        read = self.read(result.folder / "tensorboard")
        assert self.text(read, "status").startswith("failed the loss is nan by step")
        assert [*read.PluginTagToContent("hparams")] == ["_hparams_/session_start_info"]

    def test_jobs_of_a_sweep_in_a_folder_of_the_user(self, cli: Any, tmp_path: Path):
        folder = f"logger.tensorboard.folder={tmp_path}/all"
        result = cli("-m", *SHORT, *STEPS, "logger=[tensorboard]", folder, "seed=0,1")
        assert not [*result.folder.rglob("events.*")]
        kept = [tmp_path / "all" / job.relative_to(tmp_path) for job in result.jobs]
        assert [self.steps(self.read(one), "loss") for one in kept] == [[0, 2, 4, 6, 8]] * 2

    def test_a_resumed_run(self, cli: Any):
        begun = cli(*CUT, "logger=[tensorboard]")
        assert begun.status == 130
        resumed = cli(f"resume={begun.folder}", *AGAIN)
        assert resumed.status == 0, resumed.err
        read = self.read(begun.folder / "tensorboard")
        assert self.steps(read, "loss") == [0, 2, 4, 6, 8]
        assert self.text(read, "status") == "finished"


@pytest.fixture
def kept(cli: Any):
    """Run with a tracker, cut off and resumed; its numbers are those of a run without."""

    def run(name: str, *more: str) -> Path:
        plain = cli(*SHORT, *STEPS)
        begun = cli(*CUT, f"logger=[{name}]", *more)
        resumed = cli(f"resume={begun.folder}", *AGAIN)
        assert (begun.status, resumed.status) == (130, 0), begun.err + resumed.err
        assert (begun.err, resumed.err) == ("error: interrupted\n", "")
        assert (name not in begun.out, name not in resumed.out) == (True, True)
        figures = [[{**x, "seconds": 0} for x in run.metrics] for run in (plain, begun)]
        assert figures[0] == figures[1]
        return begun.folder

    return run


def test_trackio(kept: Any, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    folder = kept("trackio", "logger.trackio.project=mine")
    (run,) = import_module("trackio").Api().runs("mine")
    assert run.name == f"{tmp_path.name}/{folder.name}"
    assert run.config["trainer.steps"] == 8
    storage = import_module("trackio.sqlite_storage").SQLiteStorage
    *logged, last = storage.get_logs("mine", run.name, run_id=run.id)
    assert [line["step"] for line in logged if "loss" in line] == [0, 2, 4, 4, 6, 8]
    assert (last["final/step"], last["status"]) == (8, "finished")


def test_wandb(kept: Any, tmp_path: Path):
    folder = kept("wandb", "logger.wandb.project=mine", f"logger.wandb.folder={tmp_path}/mine")
    assert not (folder / "wandb").exists()
    begun, resumed = (
        list(records(x)) for x in sorted(tmp_path.glob("mine/wandb/offline-run-*/*.wandb"))
    )
    runs = [next(r.run for r in run if r.HasField("run")) for run in (begun, resumed)]
    assert len({run.run_id for run in runs}) == 1
    assert {run.project for run in runs} == {"mine"}
    assert {run.display_name for run in runs} == {f"{tmp_path.name}/{folder.name}"}
    assert "trainer.steps" in [item.key for item in runs[0].config.update]
    assert [r.history.step.num for r in begun if r.HasField("history")] == [0, 2, 4]
    assert [r.history.step.num for r in resumed if r.HasField("history")] == [4, 6, 8]
    assert [r.exit.exit_code for r in (*begun, *resumed) if r.HasField("exit")] == [1, 0]
    reached = {x.key: x.value_json for r in resumed for x in r.summary.update}
    assert (reached["final/step"], reached["status"]) == ("8", '"finished"')


def records(path: Path) -> Iterator[Any]:
    """Give the records of a file of wandb: LevelDB's log format behind seven bytes."""
    read = import_module("wandb.proto.wandb_internal_pb2").Record.FromString
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # all of a record, or its last part
            yield read(whole)
            whole = b""


@pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning")
def test_mlflow(kept: Any, tmp_path: Path):
    folder = kept("mlflow", "logger.mlflow.experiment=mine")
    client = import_module("mlflow").MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mine")
    assert experiment
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == (f"{tmp_path.name}/{folder.name}", "FINISHED")
    assert run.data.params["trainer.steps"] == "8"
    assert run.data.metrics["final/step"] == 8
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [metric.step for metric in losses] == [0, 2, 4, 4, 6, 8]
