"""Bad commands get one clear line, failed runs one that helps."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from xformopt import transforms

ROOT = Path(__file__).parents[2]
SHORT = ["task=himmelblau", "trainer.steps=20", "task.starts=4"]


BAD = {
    "optim.param_ndimm=1": r"`optim.param_ndimm`: there is no such key; did you mean `param_ndim`",
    "optimm/inner=sgd": r"`optimm/inner`: there is no such key; did you mean `optim/inner`",
    "tasks=digits": r"`tasks`: there is no such key; did you mean `task` or",
    "optim/inner=adamm": r"`optim/inner=adamm`: there is no such option; did you mean `adam`",
    "optim/transforms=[top_k]": r"`optim/transforms=top_k`.*no such option; did you mean `top_q`",
    "task=digit": r"`task=digit`: there is no such option; did you mean `digits`",
    "task=null": r"`task` takes a name, got None; there are: `task=",
    "optim/inner=3": r"`optim/inner` takes a name, got 3; there are: `optim/inner=adadelta`",
    "optim/inner=[adam,sgd]": r"`optim/inner` takes a name, got \['adam', 'sgd'\]",
    "optim/transforms=[null]": r"`optim/transforms` takes a list of names, got \[None\]",
    "optim/transforms={a:b}": r"`optim/transforms` takes a list of names, got \{'a': 'b'\}",
    "optim/transforms=[sign,sign]": r"names `sign` twice.*`\+optim/transforms@optim.tr",
    "optim=adam": r"`optim=adam`: there is no such option; did you mean `optim/inner=adam` or",
    "optim=sign": r"there is no such option; did you mean `optim/transforms=\[sign\]`\?",
    "lr=1": r"`lr`: nothing reads this key; set `optim.inner.lr`, or `optim.lr_scale` for all",
    "optim.lr=1": r"`optim.lr`: nothing reads this key; set `optim.inner.lr`, or `optim.lr_sc",
    "weight_decay=1": r"`weight_decay`: nothing reads this key; set `optim.inner.weight_decay`",
    "param_ndim=1": r"`param_ndim`: nothing reads this key; set `optim.param_ndim`",
    "optim=routed": r"`optim.routes` must be given",
    "optim.inner=adamm": r"`optim/inner=adamm`: there is no such option; did you mean `adam`",
    "optim.inner=null": r"`optim.inner` must be an option of the group `optim/inner`, got None",
    "optim.transforms=[1,2]": r"`optim.transforms`: it must be a mapping",
    "optim.transforms.topq.q=1": r"`optim.transforms.topq`: there is no such key",
    "optim.grad_scale=abc": r"`optim.grad_scale`: Value 'abc' of type 'str' could not be conv",
    "optim.grad_scale=null": r"`optim.grad_scale`: it must have a value, got null",
    "optim.grad_scale=nan": r"`optim.grad_scale` must be a finite number, got nan",
    "optim.inner.lr=-1": r"`optim.inner.lr`: `lr` of Adam must be a number >= 0, got -1",
    "optim.inner.lr=high": r"`lr` of Adam must be a number >= 0, got 'high'",
    "optim.inner.lr=null": r"`lr` of Adam must be a number >= 0, got None",
    "optim.inner.lr=true": r"`lr` of Adam must be a number >= 0, got True",
    "optim.inner.lr=???": r"`optim.inner.lr` must be given: `optim.inner.lr=…`",
    "optim.inner.lr=${nope}": r"Interpolation key 'nope' not found",
    "optim.inner.betas=0.9": r"`optim.inner.betas`: it must be a list",
    "optim.inner.betas=[0.9]": r"`betas` of Adam must be 2 numbers in .*|inner.betas`: .* length 1",
    "optim.inner.foreach=abc": r"`foreach` of Adam must be true, false or null, got 'abc'",
    "optim.inner.amsgrad=abc": r"`optim.inner.amsgrad`: Value 'abc' is not a valid bool",
    "optim.inner._target_=torch.optim.Nadam": r"`torch.optim.Nadam` cannot be imported: did you "
    "mean `NAdam`",
    "optim.inner._target_=torch.optm.SGD": r"cannot be imported: there is no module `torch.optm`",
    "optim.inner._target_=builtins.dict": r"`optim.inner`: `InnerOpt` must build a torch Optimizer",
    "optim.inner._target_=os.getcwd": r"`InnerOpt` must build a torch Optimizer from parameters",
    "optim/transforms=[sign": r"input '\[sign'; is every bracket and quote closed",
    "optim._target_=nope": r"`optim._target_`: `nope` cannot be imported",
    "task._target_=experiments.tasks.toy.Toi": r"`task._target_`: .* did you mean `Toy`",
    "+optim.inner.momentm=1": r"Adam has no setting `momentm` \(=1\)",
    "+optim.zzz=1": r"`optim.zzz`: nothing reads this key; there are: compile, grad_bias",
    "+trainer.zzz=1": r"`trainer.zzz`: nothing reads this key; there are: accumulate, adversarial",
    "+foo=1": r"`foo`: nothing reads this key; there are: augment, data, device, eval, logge",
    "~optim": r"`optim` must be an option of the group `optim`, got None",
    "~optim.inner": r"`optim.inner`: it cannot be deleted",
    "optim.routes.x.lr=1": r"`optim.routes.x`: there is no such key; `\+optim.routes.x=…` adds it",
    "~task.startt": r"`~task.startt`: there is nothing to delete; what is null or unset",
    "~optim/innr": r"`optim/innr`: there is no such key or group; did you mean `optim/inner`",
    "~trainer": r"`trainer` must be an option of the group `trainer`, got",
    "optim.transforms.clip_norm.max_norm=-1": r"`max_norm` of `clip_norm` must be a number >= 0",
    "+optim.transforms.sign.q=2": r"`transforms.sign` must be a link, got \{'q': 2\}",
    "optim.param_ndim=one": r"`optim.param_ndim` must be an int or None, got 'one'",
    "device=tpu": r"`device` must be auto, cpu, cuda or mps, got 'tpu'",
    "seed=x": r"`seed` must be an int in \[0, 2\*\*63\), got 'x'",
    "seed=99999999999999999999": r"`seed` must be an int in \[0, 2\*\*63\), got 9999",
    "pictures=maybe": r"`pictures` must be true or false, got 'maybe'",
    "threads=0": r"`threads` must be an int >= 1 or null, got 0",
    "trainer.steps=-4": r"`trainer.steps` must be an int >= 1 or null, got -4",
    "trainer.epochs=true": r"`trainer.epochs` must be an int >= 1 or null, got True",
    "trainer.batch_size=0": r"`trainer.batch_size` must be an int >= 1, got 0",
    "optim/inner=muon": r"Muon\(\) cannot be built: Muon only supports 2D parameters",
    "--config-dir=/nope": r"Additional config directory '/nope' not found",
    "foo": r"Error parsing override 'foo'; missing EQUAL",
}


UNREAD = {
    "optim=muon optim.inner.lr=1": r"`optim.inner.lr`: nothing.*`optim.routes.hidden.inner.lr`, …, "
    r"or `optim.lr_scale` for all rates",
    "optim=muon +optim.inner.lr=1": r"`optim.inner.lr`: nothing.*`optim.lr_scale` for all rates",
    "optim=muon task=beale optim.inner.lr=1": r"`optim.inner.lr`: nothing reads this key; set `opt",
    "-m optim=muon optim.inner.lr=1e-4,1e-2,1": r"`optim.inner.lr`: nothing reads this key; set",
    "optim=routed optim/inner=sgd": r"`optim/inner`: nothing reads it under `optim=routed`.*leave",
    "optim=muon optim/inner=adamw": r"`optim/inner`: nothing.*set what stands in `optim.routes.emb",
    "optim=lars optim/transforms=[sign]": r"`optim/transforms`: nothing.*in `optim.routes.layers",
    "optim=muon optim.param_ndim=0": r"`optim.param_ndim`: nothing.*`optim.routes.hidden.param_nd",
    "optim=lars optim.param_ndim=0": r"`optim.param_ndim`: nothing.*`optim.routes.layers.param_nd",
    "optim=agc optim.param_ndim=0": r"`optim.param_ndim`: nothing.*`optim.routes.units.param_ndim`",
    "optim=centralized_sgd optim.param_ndim=0": r"set `optim.routes.units.param_ndim`",
    "optim=muon +optim.param_ndim=0": r"`param_ndim=0` stands beside routes that all have their",
    "optim=agc optim.inner.momentum=0.9": r"set `optim.routes.units.inner.momentum`, `optim.route",
    "optim=muon optim.transforms.ema.decay=0.9": r"set `optim.routes.hidden.transforms.ema.decay`",
    "optim=muon lr=1": r"`lr`: nothing.*`optim.routes.hidden.inner.lr`, …, or `optim.lr_scale`",
}


@pytest.mark.parametrize("command", UNREAD)
def test_what_no_route_reads(cli: Any, command: str):
    result = cli(*command.split())
    assert result.status == 2
    assert re.search(UNREAD[command], result.line)


@pytest.mark.parametrize("override", BAD)
def test_gets_one_clear_line(cli: Any, override: str):
    result = cli(override)
    assert result.status == 2
    assert result.line.startswith("error: ")
    assert re.search(BAD[override], result.line)


def test_q_outside_the_unit_interval(cli: Any):
    result = cli("optim/transforms=[top_q]", "optim.transforms.top_q.q=1.5")
    assert result.status == 2
    assert result.err == (
        "error: `optim.transforms.top_q`: `q` of `top_q` must be a number in [0, 1], got 1.5\n"
    )


@pytest.mark.parametrize("key", ["epochs", "batch_size"])
def test_a_toy_refuses_what_it_has_not(cli: Any, key: str):
    result = cli("task=beale", f"trainer.{key}=3")
    assert result.err == (
        f"error: `trainer.{key}` must be null for a task without data, whose points all move at "
        "each step, got 3; set `trainer.steps`\n"
    )


def test_a_folder_that_is_a_file(cli: Any, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    result = cli(*SHORT, folder=tmp_path / "file")
    assert result.status == 2
    assert result.err == (
        f"error: `{tmp_path}/file`: File exists; another folder: `hydra.run.dir=…`\n"
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_what_a_transform_raises_names_it(cli: Any, monkeypatch: Any):
    def fail(grad: torch.Tensor) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(transforms.centralize, "fn", fail)
    result = cli(*SHORT, "optim/transforms=[centralize]")
    said = "in the transform `centralize`, which is centralize(), for `x` (4, 2)"
    assert result.status == 1
    saved = result.folder / "traceback.txt"
    assert result.err == f"error: RuntimeError: out of luck; {said}; see {saved}\n"
    assert "in fail\n" in saved.read_text()


def test_a_device_that_is_not_there(cli: Any, monkeypatch: Any):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = cli("device=cuda")
    assert result.status == 2
    assert "no CUDA device is there; use device=cpu or device=auto" in result.err


def test_a_loss_that_is_not_finite(cli: Any):
    result = cli("task=beale", "optim/inner=sgd", "optim/transforms=[]", "optim.inner.lr=10.0")
    assert result.status == 1
    assert (
        "the run diverged; lower `optim.inner.lr` (= 10) or `optim.lr_scale`, or clip the "
        "gradient: `optim/transforms=[clip_norm]`"
    ) in result.err
    summary = result.read("summary.json")
    assert summary["status"] == "failed"
    assert "diverged" in summary["error"]
    assert summary["task"] == "beale"
    assert summary["inner"] == "SGD"
    assert torch.__version__.startswith(summary["environment"]["versions"]["torch"])


def test_a_divergence_under_a_clip_does_not_advise_one(cli: Any):
    result = cli("task=beale", "optim.inner.lr=1e20", "optim/inner=sgd")
    assert "the run diverged; lower `optim.inner.lr` (= 1e+20)" in result.err
    assert "clip the gradient" not in result.err


def test_a_divergence_of_a_recipe_names_keys_that_act(cli: Any):
    result = cli("task=beale", "optim=signum", "optim.inner.lr=1e30")
    assert (
        "lower `optim.inner.lr` (= 1e+30) or `optim.lr_scale`, or clip the gradient: "
        "`optim/transforms=[clip_norm,ema,sign]`"
    ) in result.err
    result = cli("task=beale", "optim=lion", "optim.inner.lr=1e30")
    assert result.err.endswith("`optim/transforms=[clip_norm,lion_mix,sign,lion.weight_decay]`\n")
    changed = "optim.transforms.lion_mix.beta1=0.8"
    result = cli("task=beale", "optim=lion", "optim.inner.lr=1e30", changed)
    assert result.err.endswith("`optim.inner.lr` (= 1e+30) or `optim.lr_scale`\n")
    result = cli("optim=muon", "optim.routes.hidden.inner.lr=1e30", "trainer.steps=30")
    assert result.err.endswith("diverged; lower `optim.lr_scale` (rates now: 0.001, 1e+30)\n")


def test_a_folder_that_holds_a_run_is_left_as_it_is(cli: Any):
    folder = cli(*SHORT).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    result = cli(*SHORT, "seed=1", folder=folder)
    assert result.status == 2
    assert result.err == (
        f"error: `{folder}`: the folder holds a run already; another folder: `hydra.run.dir=…`\n"
    )
    assert before == {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_wrong_command_leaves_its_folder_free(cli: Any):
    folder = cli(*SHORT, "optim.inner.lr=-1").folder
    assert cli(*SHORT, folder=folder).status == 0


def test_a_traceback_only_where_asked_for(cli: Any, monkeypatch: Any):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    result = cli("device=tpu")
    assert "Traceback (most recent call last)" in result.err
    assert result.err.endswith("must be auto, cpu, cuda or mps, got 'tpu'\n")
