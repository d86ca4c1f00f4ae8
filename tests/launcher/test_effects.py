"""Nothing is silently without effect: each leaf of a default config acts, or is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from experiments.cli import runner
from experiments.cli.groups import options
from experiments.cli.store import fill_store
from experiments.results import evaluations
from experiments.results.summary import Summary
from experiments.run.build import build
from tests.test_configs import composed
from xformopt import recipes

fill_store()
OF_DATA = {"classification", "mnist_5k", "fashion_mnist", "cifar10"}
TASKS = [name for name in options("task") if name not in OF_DATA]
"""All but those that differ from digits by data, model and the like alone."""

OTHER: dict[str, Any] = {
    "device": "cpu" if torch.cuda.is_available() else "cuda",
    "threads": 2,
    "trainer.epochs": 1,
    "trainer.steps": 7,
    "trainer.batch_size": 100,
    "trainer.eval_every": 3,
    "trainer.ema": 0.5,
    "trainer.checkpoint": "last",
    "trainer.precision": "bf16",
    "trainer.target": 0.01,
    "trainer.patience": 1,
    "trainer.strategy": "ddp",
    "mode": "constant",
    "task.goal": "loss",
    "eval.epsilon": [0.2],
    "eval.every": 1,
    "eval.subset": 20,
    "eval.files": "nowhere",
    "eval.severities": [2],
    "trainer.adversarial": "fast",
    "trainer.adversarial.epsilon": 0.05,
    "loss": "dlr",
    "step_size": 0.01,
    "rho": 0.0,
    "share": 0.1,
    "data": {"_target_": "experiments.data.digits.digits"},
    "model": None,
    "optim.purpose": "attacks",
    "optim.param_ndim": 0,
    "optim.routes": {"all": {"lr": 0.5}},
    "foreach": True,
    "fused": True,
    "param_ndim": 0,
    "state_dtype": "bfloat16",
    "match": "none*",
    "ndim": 1,
    "role": "vector",
    "eps": 1000.0,
    "div_by_zero_eps": 1000.0,
    "grad_scale": 1e-6,
    "max_norm": 0.01,
    "coefficients": "polar_express",
    "dtype": "float32",
    "scale": "match_rms_adamw",
}
"""Values that are as good as the default, by key or its last part; numbers have one anyway."""

CHECKS = {
    "strict_ndim": (["optim.strict_ndim=true", "optim.param_ndim=7"], "at least 7 dimensions"),
    "optional": (
        ["optim=muon", "optim.routes.embeddings.optional=false"],
        "route `embeddings` (role embedding) takes no parameter",
    ),
}
SILENT = (*CHECKS, "purpose", "patience")
"""What the default satisfies; a note on recipes that is of networks; what ends a run early."""

DETERMINISTIC = ("fgsm", "mi_fgsm", "fw_nuclear")
"""Attacks that draw nothing by default."""

KERNELS = ("foreach", "fused", "capturable", "differentiable")
"""What chooses how a step is computed, not what it is: it must reach the optimizer."""


def other(key: str, value: Any) -> Any:
    leaf = key.rpartition(".")[2]
    if key in OTHER or leaf in OTHER:
        return OTHER.get(key, OTHER.get(leaf))
    if leaf == "when":
        return {"pre": "post", "post": "pre", "update": "pre"}[value]
    if leaf == "checkpoint_every":
        return None if value else 3
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.75 if value else 0.25
    raise AssertionError(f"`{key}={value}` has no other value: add one to `OTHER`")


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    keys: Any = range(len(node)) if isinstance(node, ListConfig) else [str(k) for k in node]
    for key in keys:
        value = node[key]
        if isinstance(value, DictConfig | ListConfig):
            yield from leaves(value, f"{prefix}{key}.")
        elif not str(key).startswith("_") and "._" not in prefix:
            yield f"{prefix}{key}", value


class Seen:
    """Runs a config; gives what a user sees of it, or that it is refused."""

    def __init__(self, folder: Path, capsys: Any, monkeypatch: Any) -> None:
        self.folder, self.capsys, self.count = folder, capsys, 0
        self.built: list[Any] = []
        self.compiled: list[Any] = []
        monkeypatch.setattr(
            runner, "build", lambda cfg: self.built.append(build(cfg)) or self.built[-1]
        )
        monkeypatch.setattr(torch, "compile", lambda fn, **_: self.compiled.append(fn) or fn)

    def __call__(self, cfg: DictConfig, key: str = "") -> Any:
        self.built.clear()
        self.compiled.clear()
        self.count += 1
        folder = self.folder / str(self.count)
        torch.set_num_threads(1)
        summary = runner.Runner().run(cfg.copy(), folder, (f"{key}=",))
        out, err = self.capsys.readouterr()
        assert not (folder / "traceback.txt").exists(), summary
        if not isinstance(summary, Summary):
            return "refused" if summary.status == 2 else summary.line.replace(str(folder), "")
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return (
            [line.partition(', "seconds"')[0] for line in lines],
            (summary.goal, summary.final, summary.best, summary.target, summary.notes),
            [line for line in out.splitlines() if not line.endswith("/s")],
            err,
            [one.metrics for one in evaluations.read(folder)],
            sorted(path.name for path in folder.iterdir()),
            torch.get_num_threads(),
            len(self.compiled),
            [[g.get(k) for k in KERNELS] for g in self.built[0].state.optimizer.param_groups],
        )


def silent(seen: Seen, *overrides: str, below: str = "", but: tuple[str, ...] = ()) -> list[str]:
    """Return the leaves that change nothing in a short run, nor in a longer one."""
    cfg = composed(*overrides, "pictures=false")
    keys = [k for k, _ in leaves(cfg) if k.startswith(below) and not k.startswith(but)]
    keys = [k for k in keys if k.rpartition(".")[2] not in SILENT]
    assert keys
    keys = unchanged(seen, cfg, keys, steps=8)
    return keys and unchanged(seen, cfg, keys, steps=300)


def unchanged(seen: Seen, cfg: DictConfig, keys: list[str], steps: int) -> list[str]:
    """Return the leaves that change nothing in a run of so many steps."""
    cfg.trainer.steps = steps
    base, found = seen(cfg), dict(leaves(cfg))
    assert isinstance(base, tuple), base
    return [k for k in keys if seen(changed(cfg, k, found[k]), k) == base]


def changed(cfg: DictConfig, key: str, value: Any) -> DictConfig:
    cfg = cfg.copy()
    OmegaConf.update(cfg, key, other(key, value), force_add=True)
    return cfg


@pytest.fixture
def seen(clean_hydra: None, tmp_path: Path, capsys: Any, monkeypatch: Any) -> Seen:
    return Seen(tmp_path, capsys, monkeypatch)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("task", TASKS)
def test_each_leaf_of_a_task(seen: Seen, task: str):
    small = ["model.width=2"] if task == "digits" else ["task.starts=2"]
    assert silent(seen, f"task={task}", *small) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("recipe", recipes.names())
def test_each_leaf_of_a_recipe(seen: Seen, recipe: str):
    """Of a network where there are routes, but those of Muon; of a toy elsewhere."""
    network = ["task=digits", "model.width=2"]
    toy = ["task=rastrigin", "task.starts=2", "task.dim=10"]
    routes, known = recipes.get(recipe).routes, recipes.get("muon").routes
    tried = [name for name in routes if recipe != "muon" and routes[name] == known.get(name)]
    but = tuple(f"optim.routes.{name}." for name in tried)
    small = network if routes else toy
    assert silent(seen, *small, f"optim={recipe}", below="optim.", but=but) == []


@pytest.mark.parametrize("schedule", [s for s in options("schedule") if s != "constant"])
def test_each_leaf_of_a_schedule(seen: Seen, schedule: str):
    """Of all but the constant one, which has none."""
    toy = ["task=himmelblau", "task.starts=2"]
    assert silent(seen, *toy, f"schedule={schedule}", below="schedule.") == []


@pytest.mark.parametrize("augment", options("augment"))
def test_each_leaf_of_an_augmentation(seen: Seen, augment: str):
    assert silent(seen, "model.width=2", f"augment=[{augment}]", below="augment.") == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", [name for name in options("model") if name != "points"])
def test_each_leaf_of_a_model(seen: Seen, model: str):
    small = "model.hidden=[4]" if model == "mlp" else "model.width=6"
    assert silent(seen, f"model={model}", small, below="model.") == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("attack", options("eval/attacks"))
def test_each_leaf_of_an_attack(seen: Seen, attack: str):
    """Of a seed alone where nothing is drawn, nothing is seen."""
    budget = "queries=50" if attack.startswith("square") else "steps=12"
    few = [] if attack == "fgsm" else [f"eval.attacks.{attack}.{budget}"]
    held = silent(seen, "model.width=2", f"eval/attacks=[{attack}]", *few, below="eval.")
    drawn = attack not in DETERMINISTIC
    assert held == ([] if drawn else [f"eval.attacks.{attack}.seed"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", [name for name in options("trainer/adversarial") if name != "none"])
def test_each_leaf_of_training_against_attacks(seen: Seen, way: str):
    """A seed of its own is refused, since the run's draws."""
    budget = "queries" if way.startswith("square") else "steps"
    few = [] if way in ("fgsm", "fast", "free") else [f"trainer.adversarial.{budget}=2"]
    chosen = ["model.width=2", f"trainer/adversarial={way}", *few]
    assert silent(seen, *chosen, below="trainer.adversarial.") == []


def test_each_leaf_of_the_metrics(seen: Seen):
    chosen = f"task/metrics=[{','.join(options('task/metrics'))}]"
    assert silent(seen, "model.width=2", chosen, below="task.metrics.") == []


@pytest.mark.parametrize(("overrides", "said"), CHECKS.values(), ids=CHECKS)
def test_a_check_refuses_what_it_is_for(cli: Any, overrides: list[str], said: str):
    result = cli("trainer.steps=1", *overrides)
    assert result.status == 2
    assert said in result.err
