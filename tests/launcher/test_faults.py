"""Whose fault an error is: a wrong command exits 2 with a line, a bug 1 with its traceback."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import register
from experiments.cli.loading import load_model
from experiments.results.folder import RunFolder
from experiments.run.world import FOUND
from experiments.tasks.classification import Classification
from experiments.tasks.toy import Toy
from xformopt.refused import Refused

TOY = ("task=himmelblau", "trainer.steps=4", "task.starts=4")
DIGITS = ("trainer.steps=2", "trainer.checkpoint=none")

PARTS = '''
import torch
from torch import nn
from experiments import register
from experiments.observers.contract import Observer
from experiments.tasks.classification import Classification


@register.data
def wrong_data():
    a, b = [1]


@register.model
def wrong_model(shape, classes):
    return nn.Linear(shape, "x")


@register.schedule
def wrong_schedule(step, steps):
    return int("x")


@register.metric("max")
def wrong_metric(logits, labels):
    return int("x")


@register.task
class WrongTask(Classification):
    def loss(self, model, batch):
        return None + 1


@register.task
class Named(Classification):
    """Returns tensors, which are figures too."""

    def evaluate(self, model, batches):
        return {k: torch.tensor(v) for k, v in super().evaluate(model, batches).items()}


@register.task
class Forgetful(Classification):
    def evaluate(self, model, batches):
        return {}


@register.task
class NoTask:
    pass


@register.observer
class files(Observer):
    pass


@register.observer
class NoObserver:
    pass


@register.observer
class Meddles(Observer):
    def on(self, event):
        torch.rand(3)
        getattr(event, "metrics", {}).clear()


@register.model
def noisy(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(shape.numel(), classes))


class Restless(nn.Flatten):
    """Draws numbers in evaluation too."""

    def forward(self, images):
        return super().forward(images + torch.rand(()))


@register.model
def restless(shape, classes):
    return nn.Sequential(Restless(), nn.Linear(shape.numel(), classes))


@register.task
class Vector(Classification):
    def loss(self, model, batch):
        return model(batch[0]).sum(1)


@register.task
class Constant(Classification):
    def loss(self, model, batch):
        return torch.ones(())


@register.model
def spare(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.numel(), classes + 1))


@register.task
class Sided(Classification):
    """Judges by one output, which is above or below 0."""

    def loss(self, model, batch):
        images, labels = batch
        return nn.functional.softplus((0.5 - labels.gt(4).float()) * model(images)[:, 0]).mean()

    def evaluate(self, model, batches):
        return dict.fromkeys(("loss", "accuracy"), 0.5)


@register.model
def one(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.numel(), 1))


class Halved(nn.Sequential):
    def forward(self, images):
        return super().forward(images.bfloat16())


@register.model
def halved(shape, classes):
    return Halved(nn.Flatten(), nn.Linear(shape.numel(), classes)).bfloat16()


@register.model
def squeezed(shape, classes):
    layers = [nn.Flatten(), nn.Linear(shape.numel(), classes), nn.Unflatten(1, (classes, 1))]
    return nn.Sequential(*layers, Squeeze())


class Squeeze(nn.Module):
    def forward(self, logits):
        return logits.squeeze()


@register.model
def lazy(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))


@register.model
def few(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.numel(), classes - 1))


@register.model
def square(shape, classes):
    return nn.Sequential(nn.Linear(5, classes))


@register.model
def undefined(shape, classes):
    net = noisy(shape, classes)
    nn.init.constant_(net[2].weight, float("nan"))
    return net
'''


@pytest.fixture(scope="session")
def module(tmp_path_factory: Any) -> Path:
    file = tmp_path_factory.mktemp("faulty") / "faulty_parts.py"
    file.write_text(PARTS)
    return file


@pytest.fixture
def faulty(cli: Any, module: Path, monkeypatch: Any) -> Any:
    """Run the launcher with parts that have faults."""
    monkeypatch.syspath_prepend(str(module.parent))
    return lambda *words, **settings: cli("trust=faulty_parts", *DIGITS, *words, **settings)


BUGS = {
    "data=wrong_data": r"ValueError: `data`: not enough values to unpack",
    "model=wrong_model": r"TypeError: `model`: ",
    "schedule=wrong_schedule": r"ValueError: .*invalid literal for int",
    "task/metrics=[loss,accuracy,wrong_metric]": r"invalid literal .*; in the metric `wrong_met",
    "model=square": r"RuntimeError: .*; `model` was given images of shape \(1, 8, 8\), \(C",
    "task=WrongTask data=digits model=noisy": r"TypeError: unsupported operand type",
    "task=Forgetful data=digits model=noisy": r"KeyError: .*returns no `loss`, one of its metrics",
}


@pytest.mark.parametrize("words", BUGS)
def test_a_bug_of_the_user(faulty: Any, words: str):
    result = faulty(*words.split())
    assert result.status == 1
    assert re.search(BUGS[words], result.line)
    assert result.line.endswith(f"see {result.folder}/traceback.txt")
    assert "Traceback (most recent call last)" in (result.folder / "traceback.txt").read_text()
    assert result.read("summary.json")["status"] == "failed"


WRONG = {
    "task=NoTask model=noisy": r"`task` must be a task, which has metrics.*got 'NoTask'; `met",
    "observers=[files]": r"`observers.files` must be of a name that no other observer has",
    "observers=[NoObserver]": r"`observers.NoObserver` must be an observer, with `start`",
    "trainer.ema=0.5 +optim/transforms@optim.transforms.ema=param_ema": r"`trainer.ema` must be n",
    "schedule=cosine schedule.final=-1": r"`schedule` must be a function of step and steps that",
    "schedule.warmup=0.1": r"no such key; `schedule=cosine` or `schedule=linear` or ",
    "+optim/transforms=clip_norm": r"the recipe has this link already; .*transforms.again=clip_n",
    "+optim/transforms=[sign,clip_norm]": r"the recipe has this link already",
    "task=beale task/metrics=[loss]": r"`task/metrics`: nothing reads this group under what is ch",
    "--config-name=other": r"`--config-name=other`: the config has one name; `rerun=FOLDER`",
    "rerun=a rerun=b": r"`rerun` must be given once",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_command(faulty: Any, words: str):
    result = faulty(*words.split())
    assert result.status == 2
    assert re.search(WRONG[words], result.line)


def test_trust_may_be_said_twice(cli: Any, module: Path, monkeypatch: Any):
    monkeypatch.syspath_prepend(str(module.parent))
    assert cli("trust=faulty_parts", "trust=json", "model=noisy", *DIGITS).status == 0


def test_a_module_that_fails_names_its_line(cli: Any, tmp_path: Path, monkeypatch: Any):
    (tmp_path / "fails_at_import.py").write_text("\n1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    result = cli("trust=fails_at_import")
    assert result.status == 1
    assert f"division by zero; raised at {tmp_path}/fails_at_import.py:2; HYDRA" in result.err


def test_a_name_that_is_taken():
    with pytest.raises(Refused, match=r"`data=digits`: there is one of this name; rename that of"):

        @register.data
        def digits(): ...


def test_a_decorator_without_its_argument():
    with pytest.raises(Refused, match=r'`mode` must be "min" or "max".*`@register.metric\("max"\)'):

        @register.metric  # type: ignore[arg-type]
        def anything(logits: Any, labels: Any): ...


def test_a_toy_whose_values_have_another_shape():
    with pytest.raises(Refused, match=r"`function` of the toy flat must be .*shape \(N,\), got"):
        Toy("flat", lambda x: x.square(), torch.zeros(1, 2), (-1.0, 1.0), 3)


def test_figures_may_be_tensors(faulty: Any):
    result = faulty("task=Named", "data=digits", "model=noisy")
    assert result.status == 0, result.err
    assert result.read("summary.json")["task"] == "digits, Named"


def test_own_metrics_of_an_own_classification(faulty: Any):
    words = ("task=Named", "task/metrics=[top_accuracy]", "task.goal=top_accuracy")
    result = faulty(*words, "data=digits", "model=noisy")
    assert "valid_top_accuracy" in result.metrics[-1]


def test_an_observer_that_meddles_changes_nothing(faulty: Any):
    plain, meddled = (faulty("model=noisy", *more) for more in ((), ("observers=[Meddles]",)))
    assert meddled.status == 0, meddled.err
    figures = [[{**line, "seconds": 0} for line in run.metrics] for run in (plain, meddled)]
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    ("words", "said"),
    {
        "model._target_=torch.nn.Flatten": "`model` must be a network with parameters, which",
        "model._target_=torch.relu": "`model` must be a function or class of Python, whose argumen",
        "model=resnet18 model.width=-8": "`model.width` must be an int >= 1, got -8",
        "model=vit model.width=0": "`model.width` must be an int >= 1, got 0",
        "model=mlp model.hidden=[0]": "`model.hidden` must be an int >= 1, got 0",
        "model=cnn model.width=0": "`model.width` must be an int >= 1, got 0",
        "trust=mine.py": "`trust` must be modules by name, got 'mine.py'; `trust=mine`",
        "=3": "`=3`: a key stands before the `=`",
        "augment=[cutout] augment.cutout.size=9": "`size` must be at most a side of the images, 8",
    }.items(),
)
def test_what_cannot_be_a_part(cli: Any, words: str, said: str):
    result = cli(*words.split(), *DIGITS)
    assert (result.status, result.line.startswith(f"error: {said}")) == (2, True), result.line


def test_a_network_with_outputs_to_spare_is_noted(faulty: Any):
    assert "note: `model`: it has 11 outputs, for 10 classes\n" in faulty("model=spare").out
    assert "outputs" not in faulty("model=noisy").out


@pytest.mark.parametrize("name", ["Vector", "Constant"])
def test_a_loss_that_is_none(faulty: Any, name: str):
    line = faulty(f"task={name}", "data=digits", "model=noisy").line
    assert "TypeError: `loss` of the task must return a scalar with a gradient, got (" in line


@pytest.mark.parametrize(
    ("model", "shape"),
    {
        "model=few": (9,),
        "model._target_=torch.nn.Conv2d +model.in_channels=1 +model.out_channels=10 "
        "+model.kernel_size=1": (10, 8, 8),
    }.items(),
)
def test_a_network_without_an_output_for_each_class(
    faulty: Any, model: str, shape: tuple[int, ...]
):
    result = faulty("task=classification", "data=digits", *model.split())
    assert result.status == 2
    assert result.line.startswith(
        f"error: `model` must be a network that answers an image by a number for each of 10 "
        f"classes, got {shape}; a function that asks for `shape` and `classes` is given those"
    )


@pytest.mark.parametrize(
    "words",
    [
        "task=Sided data=digits model=one",
        "model=halved trainer.precision=bf16 optim=default",
        "model=squeezed",
    ],
)
def test_networks_that_answer_otherwise_train(faulty: Any, words: str):
    result = faulty(*words.split())
    assert result.status == 0, result.err


def test_a_lazy_network_trains_and_is_loaded(faulty: Any):
    result = faulty("model=lazy", "trainer.checkpoint=last")
    assert result.status == 0, result.err
    load_model(result.folder, "last", trust=["faulty_parts"])


def test_asking_a_network_for_its_outputs_draws_nothing(faulty: Any, monkeypatch: Any):
    asked = faulty("model=restless")
    monkeypatch.delattr(Classification, "check")
    unasked = faulty("model=restless")
    assert asked.status == unasked.status == 0
    assert asked.read("summary.json")["final"] == unasked.read("summary.json")["final"]


def test_nan_before_the_first_step(faulty: Any):
    result = faulty("model=undefined")
    assert result.status == 1
    assert "is nan at step 0; no step was made yet: look at the model, its input" in result.err


def test_files_that_cannot_be_written_fail_the_run(cli: Any, monkeypatch: Any):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "append_metrics", full)
    result = cli(*TOY)
    assert result.status == 1
    assert "OSError: [Errno 28] No space left on device; see" in result.err


def test_two_runs_in_one_folder(tmp_path: Path):
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    busy = pytest.raises(Refused, match=r"a run is at work in it, process .*; another folder")
    with first.held(), busy, second.held():
        pass
    with second.held():
        second.check_is_free()
    second.write_config("seed: 0")
    with pytest.raises(Refused, match="the folder holds a run already; another folder"):
        first.check_is_free()


def test_a_sweep_beside_runs_of_another_version(cli: Any, tmp_path: Path):
    (tmp_path / "sweep/old").mkdir(parents=True)
    old = tmp_path / "sweep/old/summary.json"
    old.write_text(json.dumps({"version": 0}))
    result = cli("-m", *TOY, "seed=0,1", folder=tmp_path / "sweep")
    assert result.status == 2
    assert "is a summary of version 0, and this is a launcher for version 1" in result.line


def test_threads_of_each_job_of_a_sweep(cli: Any):
    result = cli("-m", *TOY, f"threads={FOUND + 1},null")
    assert [job["environment"]["threads"] for job in result.summaries] == [FOUND + 1, FOUND]


def test_more_than_all_images_in_a_batch(cli: Any):
    result = cli(*DIGITS, "trainer.batch_size=3000")
    assert "note: `trainer.batch_size` is more than the 1293 images of train" in result.out


def test_parts_by_target_where_none_is_chosen(faulty: Any):
    named = ("data._target_=experiments.data.digits.digits", "model._target_=faulty_parts.noisy")
    result = faulty("task=classification", *named)
    assert result.status == 0, result.err
