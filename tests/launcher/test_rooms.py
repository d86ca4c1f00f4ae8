"""The launcher's house: arrows point one way, and one file adds one thing."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n# my_parts.py\n(.*?)```", re.DOTALL)
QUICK = ["trainer.epochs=2"]
OWN_ATTACKS = """
from xformopt.perturbations import attack, corruption


@attack("linf")
def brighter(problem, *, by: float = 1.0) -> None:
    delta = problem.images * 0 + by * problem.epsilon
    problem.project_(delta)
    problem.tried(delta)


@corruption({32: [0.1, 0.2, 0.3, 0.4, 0.5]})
def darker(images, lost):
    return (1 - lost) * images
"""


def test_arrows_point_one_way():
    """The contracts stand in `pyproject.toml`."""
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.fixture(scope="session")
def guide(tmp_path_factory: Any) -> Path:
    """The file that the guide writes."""
    blocks = BLOCK.findall((ROOT / "experiments/README.md").read_text())
    file = tmp_path_factory.mktemp("user") / "my_parts.py"
    file.write_text("\n\n".join(blocks))
    return file


@pytest.fixture
def my_parts(guide: Path, monkeypatch: Any) -> Path:
    """The same where it can be imported, as in the folder where one is."""
    monkeypatch.syspath_prepend(str(guide.parent))
    return guide


class TestOneFileAddsOneThing:
    """Each of the guide's parts, from a file outside of the project."""

    def test_data_and_model(self, cli: Any, my_parts: Path):
        chosen = ["task=classification", "data=blobs", "data.count=200", "model=tiny"]
        result = cli("trust=my_parts", *chosen, "model.hidden=5", *QUICK)
        assert result.status == 0, result.err
        summary = result.read("summary.json")
        assert summary["task"] == "blobs"
        assert summary["parameters"] == 16 * 5 + 5 + 5 * 2 + 2

    def test_task(self, cli: Any, my_parts: Path):
        result = cli("trust=my_parts", "task=Focal", "data=blobs", "model=tiny", *QUICK)
        assert result.status == 0, result.err
        plain = cli("trust=my_parts", "task=classification", "data=blobs", "model=tiny", *QUICK)
        assert result.metrics[0]["valid_loss"] == plain.metrics[0]["valid_loss"]
        assert result.metrics[-1]["loss"] < plain.metrics[-1]["loss"]

    def test_schedule(self, cli: Any, my_parts: Path):
        steps = ["task=himmelblau", "trainer.steps=9"]
        one, three = (
            cli("trust=my_parts", *steps, "schedule=restarts", f"schedule.cycles={n}")
            for n in (1, 3)
        )
        assert one.status == three.status == 0
        assert one.metrics[3]["loss"] != three.metrics[3]["loss"]
        assert one.metrics[1]["loss"] == three.metrics[1]["loss"]

    def test_metric(self, cli: Any, my_parts: Path):
        metrics = "task/metrics=[accuracy,worst_class]"
        result = cli("trust=my_parts", metrics, "task.goal=worst_class", *QUICK)
        assert result.status == 0, result.err
        last = result.metrics[-1]
        assert set(last) == {"step", "loss", "valid_accuracy", "valid_worst_class", "seconds"}
        assert last["valid_worst_class"] <= last["valid_accuracy"]
        goal = result.read("summary.json")["goal"]
        assert goal == {"name": "valid_worst_class", "mode": "max", "scale": "linear", "limit": 1}

    def test_column(self, cli: Any, my_parts: Path, capsys: Any):
        from experiments.report import report

        result = cli("-m", "task=himmelblau", "trainer.steps=9", "seed=0,1")
        assert report([str(result.folder), "trust=my_parts"]) == 0
        assert '<th scope="col">slowest</th>' in (result.folder / "report.html").read_text()

    def test_observer(self, cli: Any, my_parts: Path):
        diary = "observers.Diary.file=mine.txt"
        result = cli("trust=my_parts", "observers=[Diary]", diary, *QUICK)
        assert result.status == 0, result.err
        lines = (result.folder / "mine.txt").read_text().splitlines()
        assert [line.partition(":")[0] for line in lines] == ["0", "21", "42"]

    def test_training_against_attacks(self, cli: Any, my_parts: Path):
        noisy = ["trainer.adversarial=noisy", "trainer.adversarial.size=0.5"]
        result = cli("trust=my_parts", *noisy, *QUICK)
        assert result.status == 0, result.err
        assert result.metrics[-1]["loss"] > cli("trust=my_parts", *QUICK).metrics[-1]["loss"]

    def test_attack_and_corruption(self, cli: Any, tmp_path: Path, monkeypatch: Any):
        (tmp_path / "own_attacks.py").write_text(OWN_ATTACKS)
        monkeypatch.syspath_prepend(str(tmp_path))
        chosen = ["eval.attacks=[brighter]", "eval.attacks.brighter.by=0.5", "eval.epsilon=0.5"]
        result = cli("trust=own_attacks", *chosen, "eval.corruptions=[darker]", *QUICK)
        assert result.status == 0, result.err
        final = result.read("summary.json")["final"]
        assert final["test_brighter_0.5_accuracy"] < final["test_clean_accuracy"]
        assert "test_corrupted_darker_accuracy" in final
        defended = cli("trust=own_attacks", "trainer.adversarial=brighter", *QUICK)
        assert defended.status == 0, defended.err

    def test_toy(self, cli: Any, my_parts: Path):
        result = cli("trust=my_parts", "task=bowl", "task.dim=3", "trainer.steps=200")
        assert result.status == 0, result.err
        assert result.read("summary.json")["final"]["solved"] == 1

    def test_by_target(self, cli: Any, my_parts: Path):
        data = "+data._target_=my_parts.blobs"
        model = ["+model._target_=my_parts.tiny", "+model._partial_=true"]
        result = cli("task=classification", data, "+data.count=100", *model, *QUICK)
        assert result.status == 0, result.err
        result = cli("model._target_=torch.nn.Flatten", *QUICK)
        assert "`model` must be a network with parameters, which are trained" in result.err

    def test_by_entry_point(self, cli: Any, tmp_path: Path, monkeypatch: Any):
        """The part has a name that no other test brings into the store."""
        held = "from experiments import register\nfrom experiments.data.digits import digits\n"
        held += "@register.data\ndef brought():\n    return digits(valid=0.5)\n"
        (tmp_path / "entry_parts.py").write_text(held)
        info = tmp_path / "mine-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Name: mine\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[xformopt.experiments]\nmine = entry_parts\n")
        assert cli("data=brought", *QUICK).status == 2
        monkeypatch.syspath_prepend(str(tmp_path))
        result = cli("data=brought", *QUICK)
        assert result.status == 0, result.err

    def test_by_yaml_of_a_package(self, cli: Any, tmp_path: Path, my_parts: Path, monkeypatch: Any):
        for group, name in (("data", "blobs"), ("model", "tiny")):
            folder = tmp_path / "yaml_package/conf" / group
            folder.mkdir(parents=True)
            partial = "_partial_: true\n" if group == "model" else ""
            (folder / f"my_{name}.yaml").write_text(f"_target_: my_parts.{name}\n{partial}")
        for folder in ("yaml_package", "yaml_package/conf"):
            (tmp_path / folder / "__init__.py").touch()
        monkeypatch.syspath_prepend(str(tmp_path))
        path = "hydra.searchpath=[pkg://yaml_package.conf]"
        result = cli(path, "task=classification", "data=my_blobs", "model=my_tiny", *QUICK)
        assert result.status == 0, result.err

    def test_what_is_not_a_part(self, cli: Any, my_parts: Path):
        held = "from experiments import register\n@register.data\ndef nothing(): ...\n"
        my_parts.with_name("no_part.py").write_text(held)
        chosen = ["trust=no_part", "task=classification", "data=nothing", "model=small_cnn"]
        assert "`data` must be an `experiments.data.contract.Data`" in cli(*chosen).err

    def test_a_module_that_is_not_there(self, cli: Any):
        assert cli("trust=[nowhere]").err == (
            "error: `trust` must be modules that can be imported, got 'nowhere'; is it installed, "
            "or in this folder?\n"
        )


class TestRerun:
    STEPS = ("task=himmelblau", "trainer.steps=5", "seed=3")

    def numbers(self, result: Any) -> list[dict[str, float]]:
        assert result.status == 0, result.err
        return [{k: v for k, v in line.items() if k != "seconds"} for line in result.metrics]

    def test_gives_the_same_numbers(self, cli: Any):
        first = cli(*self.STEPS, "optim=lion", "optim.transforms.lion_mix.beta1=0.5")
        again = cli(f"rerun={first.folder}")
        assert self.numbers(again) == self.numbers(first)
        config = (first.folder / "config.yaml").read_text()
        assert (again.folder / "config.yaml").read_text() == config

    def test_takes_overrides(self, cli: Any):
        first = cli(*self.STEPS, "optim=lion")
        changed = cli(f"rerun={first.folder}", "optim.inner.lr=0.5", "seed=4")
        assert self.numbers(changed) == self.numbers(
            cli(*self.STEPS, "optim=lion", "optim.inner.lr=0.5", "seed=4")
        )

    @pytest.mark.parametrize(
        "chosen",
        [
            ["optim=muon"],
            ["optim/inner=adam"],
            ["optim/transforms=[sign]"],
            ["+optim/transforms=clip_norm"],
            ["schedule=cosine"],
            ["optim=signum", "optim/inner=adam"],
        ],
    )
    def test_a_group_that_is_chosen_replaces_what_was_saved(self, cli: Any, chosen: list[str]):
        first = cli(*self.STEPS, "optim=lion")
        assert self.numbers(cli(f"rerun={first.folder}", *chosen)) == self.numbers(
            cli(*self.STEPS, "optim=lion", *chosen)
        )

    def test_in_a_sweep(self, cli: Any):
        first = cli(*self.STEPS)
        result = cli("-m", f"rerun={first.folder}", "optim.inner.lr=0.1,0.2")
        assert result.status == 0
        rates = [OmegaConf.load(job / "config.yaml").optim.inner.lr for job in result.jobs]
        assert sorted(rates) == [0.1, 0.2]

    def test_refuses(self, cli: Any, tmp_path: Path):
        said = cli(f"rerun={tmp_path}").err
        assert said.startswith("error: `rerun` must be the folder of a run, which holds a `config")
        first = cli(*self.STEPS)
        assert (
            "`task` sets data, model and trainer" in cli(f"rerun={first.folder}", "task=beale").err
        )
        file = first.folder / "config.yaml"
        before = file.read_text()
        file.write_text(before.replace("torch.optim.adam.Adam", "os.system"))
        said = cli(f"rerun={first.folder}").err
        assert "names `os.system`, which is neither ours nor an optimizer or layer of torch" in said
        within = "torch.nn.modules.module.torch.load"
        for other in ("torch.load", within, "torch.nn.modules.module.inspect.os.system"):
            file.write_text(before.replace("torch.optim.adam.Adam", other))
            assert f"names `{other}`, which is neither ours" in cli(f"rerun={first.folder}").err
        wrapped = f"{before}\nobservers:\n  x: {{_target_: torch.nn.ReLU, _zen_wrappers: [a.b]}}\n"
        file.write_text(wrapped.replace("observers: {}", ""))
        assert "names `a.b`, which is neither ours" in cli(f"rerun={first.folder}").err
