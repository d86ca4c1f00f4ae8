"""The launcher, as from the shell: what it trains, writes, prints, and how it refuses."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from experiments.tasks import toy
from xformopt import transforms

ROOT = Path(__file__).parent.parent
SHORT = ["task=himmelblau", "trainer.steps=20", "task.starts=4"]


class TestDefault:
    def test_from_another_folder_reaches_97_percent(self, tmp_path: Path):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "experiments", f"hydra.run.dir={tmp_path}/out"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        summary = json.loads((tmp_path / "out/summary.json").read_text())
        assert summary["task"] == "digits"
        assert summary["final"]["test_accuracy"] >= 0.97
        assert "clip_norm" in done.stdout

    def test_split_is_fixed_stratified_and_whole(self):
        from experiments.tasks.vision import digits

        first, second = digits(64), digits(64)
        assert torch.equal(first.test[0], second.test[0])
        assert (len(first.train[0]), len(first.test[0])) == (1437, 360)
        assert set(first.test[1].bincount().tolist()) <= {35, 36, 37}


class TestToys:
    @pytest.mark.parametrize(
        ("name", "share"),
        [("rosenbrock", 0.9), ("himmelblau", 1.0), ("beale", 0.5), ("simplex_least_squares", 1.0)],
    )
    def test_solved_with_defaults(self, cli: Any, name: str, share: float):
        result = cli(f"task={name}")
        final = result.read("summary.json")["final"]
        assert final["solved"] >= share
        assert final["distance"] < 1e-2

    @pytest.mark.parametrize(
        "problem",
        [
            toy.rosenbrock(3, 1),
            toy.himmelblau(1),
            toy.beale(1),
            toy.rastrigin(4, 1),
            toy.ill_conditioned(5, 100.0, 1),
        ],
        ids=lambda p: p.name,
    )
    def test_known_minima_are_minima(self, problem: toy.Toy):
        x = problem.minima.double().requires_grad_()
        hessian_safe = problem.function(x.float()).sum()
        (gradient,) = torch.autograd.grad(hessian_safe, x)
        assert gradient.abs().max() < 1e-3
        around = problem.minima[:, None] + 0.05 * torch.randn(len(x), 200, x.shape[1])
        values = problem.function(around.flatten(0, 1)).view(len(x), 200)
        assert (values >= problem.function(problem.minima)[:, None] - 1e-6).all()

    def test_simplex_solution_is_optimal(self):
        """No feasible direction descends: the gradient is least on the support."""
        problem = toy.simplex_least_squares(8, 1)
        x = problem.minima.clone().requires_grad_()
        problem.function(x).sum().backward()
        assert x.grad is not None
        on, off = x.grad[x > 0], x.grad[x == 0]
        assert problem.minima.sum().item() == pytest.approx(1)
        assert (on.max() - on.min()).item() < 1e-4
        assert off.min() > on.max() + 0.5

    def test_ill_conditioned_has_its_condition(self):
        problem = toy.ill_conditioned(4, 50.0, 1)
        hessian = torch.autograd.functional.hessian(
            lambda x: problem.function(x[None]).sum(), torch.zeros(4)
        )
        eigenvalues = torch.linalg.eigvalsh(torch.as_tensor(hessian))
        assert (eigenvalues[-1] / eigenvalues[0]).item() == pytest.approx(50, rel=1e-3)

    def test_settings_reach_the_problem(self, cli: Any):
        result = cli("task=ill_conditioned", "task.dim=3", "task.starts=5", "trainer.steps=3")
        assert result.read("summary.json")["parameters"] == 15


class TestRunFolder:
    def test_holds_everything(self, cli: Any):
        result = cli(*SHORT, "optim/inner=adamw", "optim.inner.lr=3e-3", "seed=5")
        assert result.status == 0
        found = {path.name for path in result.folder.iterdir() if path.is_file()}
        assert found == {
            "config.yaml", "metrics.jsonl", "summary.json", "curves.png", "trajectories.png",
        }  # fmt: skip
        assert "lr: 0.003" in (result.folder / "config.yaml").read_text()
        assert "${" not in (result.folder / "config.yaml").read_text()
        summary = result.read("summary.json")
        assert summary["status"] == "finished"
        assert summary["inner"] == "AdamW"
        assert summary["seed"] == 5
        assert torch.__version__.startswith(summary["versions"]["torch"])
        assert len(summary["commit"]) >= 40
        assert summary["seconds"] > 0
        assert summary["best"]["distance"] <= summary["final"]["distance"]
        assert [line["step"] for line in result.metrics] == list(range(21))
        for name in ("curves.png", "trajectories.png"):
            assert (result.folder / name).read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize("task", [SHORT, ["task=digits", "trainer.steps=12"]])
    def test_same_seed_same_numbers_to_the_bit(self, cli: Any, task: list[str]):
        def numbers(seed: int) -> list[dict[str, Any]]:
            lines = cli(*task, f"seed={seed}", "trainer.eval_every=4").metrics
            return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]

        first = numbers(1)
        assert first == numbers(1)
        assert first != numbers(2)

    def test_epochs_steps_and_batch_size(self, cli: Any):
        by_epoch = cli("trainer.epochs=2", "trainer.batch_size=500")
        assert [line["step"] for line in by_epoch.metrics] == [0, 3, 6]
        by_step = cli("trainer.steps=4", "trainer.batch_size=500", "trainer.eval_every=2")
        assert [line["step"] for line in by_step.metrics] == [0, 2, 4]

    def test_without_pictures(self, cli: Any):
        result = cli(*SHORT, "pictures=false")
        assert result.status == 0
        assert result.read("summary.json")["pictures"] == []
        assert not list(result.folder.glob("*.png"))

    def test_config_holds_only_what_is_read(self, cli: Any):
        result = cli(*SHORT, "optim.inner._target_=torch.optim.Adagrad")
        inner = OmegaConf.load(result.folder / "config.yaml").optim.inner
        assert "amsgrad" not in inner
        assert inner.lr == 0.01

    def test_metrics_are_valid_after_a_kill(self, tmp_path: Path):
        command = [sys.executable, "-m", "experiments", "task=himmelblau", "trainer.steps=1000000"]
        options = [f"hydra.run.dir={tmp_path}/out", "trainer.eval_every=1"]
        process = subprocess.Popen(
            [*command, *options],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        file = tmp_path / "out/metrics.jsonl"
        while process.poll() is None and not (file.exists() and file.stat().st_size > 2000):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert [line["step"] for line in lines] == list(range(len(lines)))

    def test_prints_plain_lines_and_a_table(self, cli: Any):
        result = cli(*SHORT)
        assert "himmelblau  step 20/20  loss" in result.out
        assert "\x1b" not in result.out
        assert "inner optimizer" in result.out
        assert str(result.folder.name) in result.out.replace("\n", "")


class TestOptimizerSettings:
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
    def test_train_the_default_task(self, cli: Any, overrides: list[str]):
        result = cli("trainer.steps=3", *overrides)
        assert result.status == 0, result.err
        assert result.read("summary.json")["status"] == "finished"

    def test_change_the_numbers(self, cli: Any):
        settings = [
            [],
            ["optim.param_ndim=0"],
            ["optim.grad_bias=0.5"],
            ["optim/transforms=[]"],
            ["optim/inner=rmsprop"],
        ]
        finals = [cli(*SHORT, *s).read("summary.json")["final"]["loss"] for s in settings]
        assert len(set(finals)) == len(settings)


class TestNotes:
    def test_nothing_depends_on_it_said_once_each(self, cli: Any):
        result = cli("-m", *SHORT, "optim/transforms=[sign]", "optim.param_ndim=0,1", "seed=0,1")
        notes = [line for line in result.out.splitlines() if line.startswith("note: ")]
        assert [note.partition(", since")[0] for note in notes] == [
            "note: `optim.param_ndim=0`: nothing depends on it",
            "note: `optim.param_ndim=1`: nothing depends on it",
        ]

    def test_parameters_taken_whole(self, cli: Any):
        result = cli("trainer.steps=1", "optim.param_ndim=7")
        assert (
            "note: `optim.param_ndim=7`: taken whole, having fewer dimensions: 0.wei" in result.out
        )
        assert "note: " not in cli("trainer.steps=1").out

    def test_a_recipe_that_is_not_for_training_networks(self, cli: Any):
        said = "note: `optim` is a recipe for attacks, and here it trains a network;"
        assert said in cli("trainer.steps=1", "optim=pgd_linf").out
        assert "note: " not in cli(*SHORT, "optim=pgd_linf").out

    def test_a_routed_recipe_on_a_toy_and_a_link_taken_away(self, cli: Any):
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


class TestSweep:
    def test_leaderboard(self, cli: Any):
        inners, seeds = "optim/inner=sgd,adam,sparseadam", "seed=0,1"
        result = cli("-m", *SHORT, inners, seeds, "optim.param_ndim=0,1")
        assert result.status == 1
        with (result.folder / "leaderboard.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 6
        means = [float(row["mean"]) for row in rows if row["mean"]]
        assert len(means) == 4
        assert means == sorted(means)
        for row in rows[:4]:
            jobs = [
                json.loads(path.read_text())
                for path in result.folder.glob("*/summary.json")
                if {
                    f"optim/inner={row['optim/inner']}",
                    f"optim.param_ndim={row['optim.param_ndim']}",
                }
                <= set(json.loads(path.read_text())["overrides"])
            ]
            distances = [job["final"]["distance"] for job in jobs]
            assert float(row["mean"]) == pytest.approx(sum(distances) / 2)
            assert float(row["sd"]) == pytest.approx(abs(distances[0] - distances[1]) / 2**0.5)
            assert row["seeds"] == "2/2"
        for row in rows[4:]:
            assert row["optim/inner"] == "sparseadam"
            assert row["seeds"] == "0/2"
            assert "SparseAdam does not support dense gradients" in row["error"]
        markdown = (result.folder / "leaderboard.md").read_text()
        assert markdown in result.out
        assert markdown.startswith(
            "All with `task=himmelblau`, `trainer.steps=20`, `task.starts=4`:\n\n| optim/inner |"
        )
        assert len({len(line) for line in markdown.splitlines()[2:]}) == 1
        assert "error: job 10 (task=himmelblau trainer.steps=20 task.starts=4" in result.err

    def test_a_seed_counts_once(self, cli: Any):
        result = cli("-m", *SHORT, "++seed=1,1")
        with (result.folder / "leaderboard.csv").open() as file:
            (row,) = csv.DictReader(file)
        assert row["seeds"] == "1/1"

    def test_tasks_are_ranked_apart(self, cli: Any):
        result = cli("-m", "task=beale,himmelblau", "trainer.steps=3", "optim/inner=sgd,adam")
        with (result.folder / "leaderboard.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["task"] for row in rows] == ["beale"] * 2 + ["himmelblau"] * 2

    @pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
    def test_an_interrupted_sweep_keeps_its_leaderboard(self, tmp_path: Path, way: signal.Signals):
        command = [sys.executable, "-m", "experiments", "-m", "task=himmelblau", "seed=0,1"]
        options = ["trainer.steps=100000,1000000", f"hydra.sweep.dir={tmp_path}"]
        process = subprocess.Popen(
            [*command, *options, "trainer.eval_every=50"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        while process.poll() is None and not (tmp_path / "0/metrics.jsonl").exists():
            time.sleep(0.05)
        process.send_signal(way)
        _, said = process.communicate()
        assert process.returncode == 130
        assert said.endswith(b"error: interrupted\n")
        assert "interrupted" in (tmp_path / "leaderboard.md").read_text()

    def test_status_is_zero_where_all_went_well(self, cli: Any):
        assert cli("-m", *SHORT, "seed=0,1").status == 0

    def test_a_sweep_that_leaves_no_summary_fails(self, cli: Any, tmp_path: Path):
        (tmp_path / "sweep/0/metrics.jsonl").mkdir(parents=True)
        result = cli("-m", *SHORT, folder=tmp_path / "sweep")
        assert result.status == 1
        assert "error: job 0" in result.err
        assert "no job of the sweep left a summary" in result.err

    def test_names_may_be_quoted(self, cli: Any):
        result = cli("-m", *SHORT[1:], "task='himmelblau','beale'")
        assert result.status == 0
        assert len(list(result.folder.glob("*/summary.json"))) == 2

    def test_the_flag_may_stand_anywhere(self, cli: Any):
        result = cli(*SHORT[:2], "-m", SHORT[2], "seed=0,1")
        assert result.status == 0
        assert len(list(result.folder.glob("*/summary.json"))) == 2

    def test_an_empty_value_below_a_swept_group(self, cli: Any):
        result = cli("-m", *SHORT, "optim/inner=sgd,adam", "+optim.inner.foo=")
        assert result.status != 0
        assert "choice" not in result.err

    def test_keys_below_a_swept_group_are_set_in_each_job(self, cli: Any):
        result = cli("-m", "task=himmelblau,beale", "trainer.steps=2", "task.starts=3")
        assert result.status == 0
        for path in result.folder.glob("*/config.yaml"):
            assert OmegaConf.load(path).task.starts == 3


BAD = {
    "optim.param_ndimm=1": r"`optim.param_ndimm`: there is no such key; did you mean `param_ndim`",
    "optimm/inner=sgd": r"`optimm/inner`: there is no such key; did you mean `optim/inner`",
    "tasks=digits": r"`tasks`: there is no such key; did you mean `task` or",
    "optim/inner=adamm": r"`optim/inner=adamm`: there is no such option; did you mean `adam`",
    "optim/transforms=[top_k]": r"`optim/transforms=top_k`.*no such option; did you mean `top_q`",
    "task=digit": r"`task=digit`: there is no such option; did you mean `digits`",
    "task=null": r"`task` takes a name, got None; there are: `task=beale`, `task=digits`",
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
    "optim=routed": r"`optim.routes` has no value",
    "optim.inner=adam": r"`optim.inner` must be an option.*did you mean `optim/inner=adam`\?",
    "optim.inner=null": r"`optim.inner` must be an option of the group `optim/inner`, got None",
    "optim.transforms=[1,2]": r"`optim.transforms`: it must be a mapping",
    "optim.transforms.topq.q=1": r"`optim.transforms.topq`: there is no such key",
    "optim.grad_scale=abc": r"`optim.grad_scale`: Value 'abc' of type 'str' could not be conv",
    "optim.grad_scale=null": r"`optim.grad_scale`: it must have a value, got null",
    "optim.grad_scale=nan": r"`optim`: `grad_scale` must be a finite number, got nan",
    "optim.inner.lr=-1": r"`optim.inner.lr`: `lr` of Adam must be a number >= 0, got -1",
    "optim.inner.lr=high": r"`lr` of Adam must be a number >= 0, got 'high'",
    "optim.inner.lr=null": r"`lr` of Adam must be a number >= 0, got None",
    "optim.inner.lr=true": r"`lr` of Adam must be a number >= 0, got True",
    "optim.inner.lr=???": r"`optim.inner.lr` has no value \(\?\?\?\); set it",
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
    "+optim.inner.momentm=1": r"Adam has no setting `momentm` \(=1\)",
    "+optim.zzz=1": r"`optim.zzz`: nothing reads this key; there are: compile, grad_bias",
    "+trainer.zzz=1": r"`trainer.zzz`: nothing reads this key; there are: batch_size",
    "+foo=1": r"`foo`: nothing reads this key; there are: device, optim, pictures",
    "~optim": r"`optim` must be an option of the group `optim`, got None",
    "~optim.inner": r"`optim.inner`: it cannot be deleted",
    "optim.routes.x.lr=1": r"`optim.routes.x`: there is no such key; `\+optim.routes.x=…` adds it",
    "~task.startt": r"`~task.startt`: there is nothing to delete; what is null or unset",
    "~optim/innr": r"`optim/innr`: there is no such key or group; did you mean `optim/inner`",
    "~trainer": r"`trainer` must be an option: there are: `trainer=default`",
    "optim.transforms.clip_norm.max_norm=-1": r"`max_norm` of `clip_norm` must be a number >= 0",
    "+optim.transforms.sign.q=2": r"`transforms.sign` must be a link, got \{'q': 2\}",
    "optim.param_ndim=one": r"`param_ndim` must be an int or None, got 'one'",
    "device=tpu": r"`device` must be auto, cpu or cuda, got 'tpu'",
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


class TestBadInput:
    @pytest.mark.parametrize("command", UNREAD)
    def test_what_no_route_reads(self, cli: Any, command: str):
        result = cli(*command.split())
        assert result.status == 2
        (line,) = result.err.splitlines()
        with pytest.raises(ValueError, match=UNREAD[command]):
            raise ValueError(line)

    @pytest.mark.parametrize("override", BAD)
    def test_gets_one_clear_line(self, cli: Any, override: str):
        result = cli(override)
        assert result.status == 2
        (line,) = result.err.splitlines()
        assert line.startswith("error: ")
        with pytest.raises(ValueError, match=BAD[override]):
            raise ValueError(line)

    def test_q_outside_the_unit_interval(self, cli: Any):
        result = cli("optim/transforms=[top_q]", "optim.transforms.top_q.q=1.5")
        assert result.status == 2
        assert result.err == (
            "error: `optim.transforms.top_q`: `q` of `top_q` must be a number in [0, 1], got 1.5\n"
        )

    @pytest.mark.parametrize("key", ["epochs", "batch_size"])
    def test_a_toy_refuses_what_it_has_not(self, cli: Any, key: str):
        result = cli("task=beale", f"trainer.{key}=3")
        assert result.err.startswith(f"error: the toy `beale` has no {key}: all starts move")

    def test_a_folder_that_is_a_file(self, cli: Any, tmp_path: Path):
        (tmp_path / "file").write_text("mine")
        result = cli(*SHORT, folder=tmp_path / "file")
        assert result.status == 2
        assert result.err == (
            f"error: File exists: `{tmp_path}/file`; another folder: `hydra.run.dir=…`\n"
        )
        assert (tmp_path / "file").read_text() == "mine"

    def test_what_a_transform_raises_names_it(self, cli: Any, monkeypatch: Any):
        def fail(grad: torch.Tensor) -> None:
            raise RuntimeError("out of luck")

        monkeypatch.setattr(transforms.centralize, "fn", fail)
        result = cli(*SHORT, "optim/transforms=[centralize]")
        said = "in the transform `centralize`, which is centralize(), for `x` (4, 2)"
        assert result.err == f"error: out of luck; {said}\n"

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
    def test_a_device_that_is_not_there(self, cli: Any):
        result = cli("device=cuda")
        assert result.status == 2
        assert "no CUDA device is there; use device=cpu or device=auto" in result.err

    def test_a_loss_that_is_not_finite(self, cli: Any):
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
        assert torch.__version__.startswith(summary["versions"]["torch"])

    def test_a_divergence_under_a_clip_does_not_advise_one(self, cli: Any):
        result = cli("task=beale", "optim.inner.lr=1e20", "optim/inner=sgd")
        assert "the run diverged; lower `optim.inner.lr` (= 1e+20)" in result.err
        assert "clip the gradient" not in result.err

    def test_a_divergence_of_a_recipe_names_keys_that_act(self, cli: Any):
        result = cli("task=beale", "optim=signum", "optim.inner.lr=1e30")
        assert (
            "lower `optim.inner.lr` (= 1e+30) or `optim.lr_scale`, or clip the gradient: "
            "`optim/transforms=[clip_norm,ema,sign]`"
        ) in result.err
        result = cli("task=beale", "optim=lion", "optim.inner.lr=1e30")
        assert result.err.endswith("`optim.inner.lr` (= 1e+30) or `optim.lr_scale`\n")
        result = cli("optim=muon", "optim.routes.hidden.inner.lr=1e30", "trainer.steps=30")
        assert result.err.endswith("diverged; lower `optim.lr_scale` (rates now: 0.001, 1e+30)\n")

    def test_a_failed_run_leaves_no_older_pictures(self, cli: Any):
        folder = cli(*SHORT).folder
        cli(*SHORT, "optim.inner.lr=-1", folder=folder)
        left = {path.name for path in folder.iterdir() if path.is_file()}
        assert left == {"config.yaml", "summary.json"}

    def test_a_traceback_only_where_asked_for(self, cli: Any, monkeypatch: Any):
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        result = cli("device=tpu")
        assert "Traceback (most recent call last)" in result.err
        assert result.err.endswith("must be auto, cpu or cuda, got 'tpu'\n")
