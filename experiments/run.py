"""One run: build what the config says, train it, write and show what it reached."""

import os
import random
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from hydra_zen import instantiate
from omegaconf import DictConfig
from torch.optim import Optimizer

from experiments.errors import one_line
from experiments.loop import Evaluation, train
from experiments.progress import as_words, progress
from experiments.runfolder import RunFolder, environment
from experiments.tasks import Task
from xformopt.optim import RoutedOptimizer


def run(cfg: DictConfig, path: Path, overrides: list[str]) -> dict[str, Any]:
    """Run a config in the folder `path`; return its summary, and save it, of a failure too."""
    folder = RunFolder(path)
    summary: dict[str, Any] = {"status": "running", "overrides": overrides}
    start = perf_counter()
    try:
        folder.write_config(cfg)
        summary.update(_train(cfg, folder), status="finished")
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        summary["status"] = "interrupted" if interrupted else "failed"
        summary["error"] = one_line(error)
        raise
    finally:
        summary["seconds"] = round(perf_counter() - start, 3)
        folder.write_summary(summary)
    return summary


def _train(cfg: DictConfig, folder: RunFolder) -> dict[str, Any]:
    device = choose_device(cfg.device)
    _check_trainer(cfg)
    make_repeatable(cfg.seed)
    task: Task = instantiate(cfg.task)
    task.prepare(device, cfg.seed)
    optimizer: Optimizer = instantiate(cfg.optim)(task.model.named_parameters())
    if isinstance(optimizer, RoutedOptimizer):
        print(optimizer.describe())
    steps, eval_every = task.steps(cfg.trainer.epochs, cfg.trainer.steps)
    history = _record(task, optimizer, folder, steps, cfg.trainer.eval_every or eval_every)
    best = history[0]
    for line in history:
        if task.goal.better(line[task.goal.metric], best[task.goal.metric]):
            best = line
    summary = {
        "task": task.name,
        "goal": task.goal._asdict(),
        "inner": type(getattr(optimizer, "inner_opt", optimizer)).__name__,
        "transforms": [f"{k}: {v!r}" for k, v in getattr(optimizer, "transforms", {}).items()],
        "seed": cfg.seed,
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "final": history[-1],
        "best": best,
        **environment(device),
    }
    summary["pictures"] = [path.name for path in _draw(task, folder, history)]
    return summary


def _record(
    task: Task, optimizer: Optimizer, folder: RunFolder, steps: int, eval_every: int
) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = []
    start = perf_counter()
    with progress(task.name, steps) as shown:
        for event in train(task, optimizer, steps, eval_every):
            if not isinstance(event, Evaluation):
                shown.advance(event)
                continue
            line = {"step": event.step, **event.metrics}
            folder.append_metrics({**line, "seconds": round(perf_counter() - start, 3)})
            history.append(line)
            shown.show(event)
    return history


def _draw(task: Task, folder: RunFolder, history: list[dict[str, Any]]) -> list[Path]:
    from experiments.plots import draw_curves

    path = folder.path / "curves.png"
    draw_curves(path, task.name, history)
    return [path, *task.draw(folder.path)]


def choose_device(name: str) -> torch.device:
    """Return the device of that name; 'auto' is CUDA where there is one, else the CPU."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"`device` must be auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("`device=cuda`: no CUDA device is there; use device=cpu or device=auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def make_repeatable(seed: int) -> None:
    """Seed everything and choose deterministic kernels."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"`seed` must be an int >= 0, got {seed!r}")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    random.seed(seed)
    torch.manual_seed(seed)


def _check_trainer(cfg: DictConfig) -> None:
    for key in ("epochs", "steps", "eval_every"):
        value = cfg.trainer[key]
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"`trainer.{key}` must be an int >= 1 or null, got {value!r}")


def as_rows(summary: dict[str, Any], path: Path) -> list[tuple[str, str]]:
    """Return what the table at the end of a run shows."""
    metrics = {k: v for k, v in summary["final"].items() if k != "step"}
    goal = summary["goal"]["metric"]
    return [
        ("task", summary["task"]),
        ("inner optimizer", summary["inner"]),
        ("transforms", ", ".join(summary["transforms"]) or "none"),
        ("seed", str(summary["seed"])),
        ("steps", str(summary["final"]["step"])),
        ("final", as_words(metrics)),
        (f"best {goal}", f"{summary['best'][goal]:.4g} at step {summary['best']['step']}"),
        ("seconds", f"{summary['seconds']:.1f} on {summary['device']}"),
        ("folder", str(path)),
        ("pictures", ", ".join(summary["pictures"])),
    ]
