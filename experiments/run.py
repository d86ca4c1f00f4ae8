"""One run: build what the config says, train it, write what it reached."""

import os
import random
import re
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from hydra_zen import instantiate
from omegaconf import DictConfig, OmegaConf
from torch.optim import Optimizer

from experiments.advice import after_divergence, say
from experiments.check import check_config, drop_leftovers, drop_what_routes_replace
from experiments.errors import one_line
from experiments.loop import Evaluation, train
from experiments.progress import progress
from experiments.runfolder import RunFolder, environment
from experiments.tasks import Task
from xformopt.making import make_optimizer
from xformopt.optim import RoutedOptimizer

Summary = dict[str, Any]


def run(cfg: DictConfig, path: Path, overrides: list[str]) -> Summary:
    """Run a config in the folder `path`; return its summary, and save it, of a failure too."""
    folder = RunFolder(path)
    summary: Summary = {"status": "running", "overrides": overrides, "seed": cfg.get("seed")}
    start = perf_counter()
    try:
        drop_what_routes_replace(cfg, overrides)
        check_config(cfg)
        drop_leftovers(cfg)
        folder.write_config(cfg)
        device = set_up(cfg)
        summary.update(environment(device))
        folder.write_summary(summary)
        _train(cfg, device, folder, summary)
        summary["status"] = "finished"
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        summary["status"] = "interrupted" if interrupted else "failed"
        summary["error"] = one_line(error)
        raise
    finally:
        summary["seconds"] = round(perf_counter() - start, 3)
        folder.write_summary(summary)
    return summary


def _train(cfg: DictConfig, device: torch.device, folder: RunFolder, summary: Summary) -> None:
    """Train what the config says; fill in the summary on the way."""
    task: Task = instantiate(cfg.task)
    summary.update(task=task.name, goal=task.goal._asdict())
    task.prepare(device, cfg.seed)
    optimizer = _build_optimizer(cfg, task)
    summary.update(
        inner=_inner(optimizer),
        transforms=[f"{k}: {v!r}" for k, v in getattr(optimizer, "transforms", {}).items()],
        parameters=sum(p.numel() for p in task.model.parameters()),
    )
    say(cfg, task, optimizer)
    steps, eval_every = task.steps(cfg.trainer)
    try:
        history = _record(task, optimizer, folder, steps, cfg.trainer.eval_every or eval_every)
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}; {after_divergence(cfg, optimizer)}") from error
    best = history[0]
    for line in history:
        if task.goal.better(line[task.goal.metric], best[task.goal.metric]):
            best = line
    summary.update(final=history[-1], best=best)
    pictures = _draw(task, folder, history) if cfg.pictures else []
    summary["pictures"] = [path.name for path in pictures]


def _build_optimizer(cfg: DictConfig, task: Task) -> Optimizer:
    build = instantiate(cfg.optim)
    try:
        ours = getattr(build, "func", build) in (make_optimizer, RoutedOptimizer)
        optimizer: Optimizer = build(task.model if ours else task.model.named_parameters())
    except (TypeError, ValueError) as error:
        if "Muon only supports 2D" in str(error):
            error.add_note("`optim=muon` gives the other parameters to AdamW")
        notes = "; ".join(["", *getattr(error, "__notes__", ())])
        raise type(error)(f"`{_where(cfg, str(error))}`: {error}{notes}") from error
    if isinstance(optimizer, RoutedOptimizer):
        print(optimizer.describe())
    return optimizer


def _where(cfg: DictConfig, said: str) -> str:
    """Return the key of the config that what is said of the inner optimizer is about."""
    name = str(OmegaConf.select(cfg, "optim.inner._target_")).rpartition(".")[2]
    setting = re.match(rf"`(\w+)` of {re.escape(name)} must", said)
    if setting:
        return f"optim.inner.{setting[1]}"
    return "optim.inner" if said.startswith((f"{name} ", f"{name}(", "`InnerOpt`")) else "optim"


def _inner(optimizer: Optimizer) -> str:
    """Return the class of the inner optimizer; of several behind routes, each once."""
    parts = optimizer.optimizers.values() if isinstance(optimizer, RoutedOptimizer) else [optimizer]
    names = [type(getattr(part, "inner_opt", part)).__name__ for part in parts]
    return ", ".join(dict.fromkeys(names))


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


def set_up(cfg: DictConfig) -> torch.device:
    """Seed everything, choose deterministic kernels and the number of threads; find the device."""
    device = choose_device(cfg.device)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if device.type == "cuda":  # only there does it change anything, and it imports the compiler
        torch.use_deterministic_algorithms(True, warn_only=True)
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    random.seed(cfg.seed)
    torch.manual_seed(cfg.seed)
    return device


def choose_device(name: str) -> torch.device:
    """Return the device of that name; 'auto' is CUDA where there is one, else the CPU."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"`device` must be auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("`device=cuda`: no CUDA device is there; use device=cpu or device=auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
