"""From a config to the parts of a run: what it says is built here, and nowhere else."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from hydra_zen import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer

from experiments.data.batches import Batches
from experiments.data.contract import Data
from experiments.evaluation.robustness import Robustness
from experiments.models.normalized import Normalized
from experiments.observers.contract import Observer
from experiments.run.against import adversary
from experiments.run.averaging import average, check_averages
from experiments.run.batch_norm import take_moments_of_all
from experiments.run.calling import called, name_of_made
from experiments.run.independent import independent
from experiments.run.listeners import check_names, observers_of, telemetry
from experiments.run.notes import TRAINING, name_of, of_data, of_optimizer, of_trainer
from experiments.run.parts import Parts
from experiments.run.ranks import check_strategy, rank, ranks, replicated, shard
from experiments.run.scaling import scaler
from experiments.run.schedules import scheduler
from experiments.run.state import State
from experiments.run.stepping import precision
from experiments.run.trainer import Trainer
from experiments.run.world import set_up, without_trace
from experiments.tasks.contract import Task, WithoutData
from xformopt.making import make_optimizer
from xformopt.optim import RoutedOptimizer, averages
from xformopt.refused import Refused, dotted, under


def build(cfg: DictConfig) -> Parts:
    """Build what a config says: data, task, model, optimizer, schedule, observers.

    Seeds are set first, so that a config builds the same parts each time.
    """
    device = set_up(cfg.device, cfg.threads, cfg.seed)
    trainer: Trainer = instantiate(cfg.trainer)
    check_strategy(trainer.strategy)
    task = _task(cfg)
    task.goal.check_target("trainer.target", trainer.target)
    data = _data(cfg, task)
    data = data.to(device) if data else None
    robustness = _robustness(cfg, data)
    batches = _batches(cfg, data, trainer, device)
    length = trainer.length(batches)
    model, model_name = _model(cfg, task, data)
    model.to(device)
    with precision(trainer, device):
        remarks = _check_answers(task, model, data)
    if ranks() > 1:
        take_moments_of_all(model)
    plain = copy.deepcopy(model) if trainer.strategy == "fsdp" else None
    if plain is not None:
        shard(model)
    model, optimizer = independent(lambda trained: _optimizer(cfg, trained), model)
    if isinstance(model, Normalized):
        model.channels_last = trainer.channels_last
    if trainer.compile:
        model.compile()
    check_averages(trainer, averages(optimizer))
    state = State(
        model=model,
        optimizer=optimizer,
        plain=plain,
        scheduler=scheduler(optimizer, instantiate(cfg.schedule), length.steps),
        average=average(trainer, model),
        scaler=scaler(trainer, optimizer, device),
        adversarial=adversary(trainer, data, optimizer),
    )
    return Parts(
        name=name_of(task, data),
        model_name=model_name if data else "",
        task=task,
        data=data,
        batches=batches,
        trainer=trainer,
        robustness=robustness,
        length=length,
        observers={} if rank() else _observers(cfg, task, data, trainer, robustness, optimizer),
        device=device,
        seed=cfg.seed,
        state=state,
        trained=replicated(model, trainer.strategy),
        notes=(
            *of_optimizer(cfg.optim.get("purpose", TRAINING), task, optimizer),
            *of_trainer(trainer, batches, device),
            *remarks,
            *of_data(data),
        ),
    )


def _observers(
    cfg: DictConfig,
    task: Task,
    data: Data | None,
    trainer: Trainer,
    robustness: Robustness,
    optimizer: Optimizer,
) -> dict[str, Observer]:
    chosen = {group: _each(cfg[group]) for group in ("observers", "logger")}
    watching = telemetry(cfg.telemetry, optimizer, trainer.strategy)
    own = observers_of(task, data, trainer, robustness, pictures=cfg.pictures) | watching
    check_names(own, chosen)
    return own | chosen["observers"] | chosen["logger"]


def _task(cfg: DictConfig) -> Task:
    task = instantiate(cfg.task)
    wanted = ("metrics", "goal", "loss", "evaluate")
    missing = next((name for name in wanted if not hasattr(task, name)), None)
    if missing:
        has = f"a task, which has {', '.join(wanted)}"
        raise Refused("task", has, type(task).__name__, f"`{missing}` is missing")
    return task


def _data(cfg: DictConfig, task: Task) -> Data | None:
    """Return the data, of a task that reads any."""
    if isinstance(task, WithoutData):
        if cfg.data is not None:
            raise Refused(
                "data", f"null for the task `{task.name}`, which reads none", cfg.data._target_
            )
        return None
    if cfg.data is None:
        raise Refused(
            "data", "a data set for this task", None, "choose one: `data=NAME`; `--help` lists them"
        )
    data = instantiate(cfg.data)
    if not isinstance(data, Data):
        raise Refused("data", "an `experiments.data.contract.Data`", type(data).__name__)
    return data


def _robustness(cfg: DictConfig, data: Data | None) -> Robustness:
    """Return what the weights are judged under beside clean images, as the data allow."""
    robustness: Robustness = instantiate(cfg.eval)
    with under("eval"):
        robustness.check(data)
    return robustness


def _batches(
    cfg: DictConfig, data: Data | None, trainer: Trainer, device: torch.device
) -> Batches | None:
    """Return the batches of training; a run without data has none, and nothing to augment."""
    augment = _each(cfg.augment)
    if data is None:
        if augment:
            raise Refused("augment", "[] for a task that reads no data", ", ".join(augment))
        return None
    return Batches(data.train, trainer.size(), cfg.seed, device, augment, (rank(), ranks()))


def judged(cfg: DictConfig) -> tuple[Task, Data | None, nn.Module]:
    """Return the task that a config says, its data, and the network before any training.

    They are on the CPU, and the network has answered.
    """
    task = _task(cfg)
    data = _data(cfg, task)
    model, _ = _model(cfg, task, data)
    _check_answers(task, model, data)
    return task, data, model


def _model(cfg: DictConfig, task: Task, data: Data | None) -> tuple[nn.Module, str]:
    """Return the model, and what it is called."""
    offered = _offered(task, data)
    partial = any(key in cfg.model for key in ("_partial_", "_zen_partial"))
    named: Any = OmegaConf.to_container(cfg.model, resolve=True)
    node = cfg.model if partial else {**named, "_partial_": True}
    make = instantiate(node)
    model = called("model", make, offered)
    if not isinstance(model, nn.Module):
        raise Refused("model", "a torch module", type(model).__name__)
    if next(model.parameters(), None) is None:
        raise Refused("model", "a network with parameters, which are trained", type(model).__name__)
    return Normalized(model, data.mean, data.std) if data else model, name_of_made(make, model)


def _check_answers(task: Task, model: nn.Module, data: Data | None) -> Sequence[str]:
    """Let a task refuse a model, by what it answers; what that draws changes nothing."""
    if data is None or not hasattr(task, "check"):
        return ()
    with without_trace():
        return task.check(model, data)


def _offered(task: Task, data: Data | None) -> Mapping[str, Any]:
    """Return what a model's signature may ask for."""
    if data:
        return {"shape": data.shape, "classes": data.classes}
    return task.offers() if isinstance(task, WithoutData) else {}


def _optimizer(cfg: DictConfig, model: nn.Module) -> Optimizer:
    make: Callable[..., Optimizer] = instantiate(cfg.optim)
    ours = getattr(make, "func", make) in (make_optimizer, RoutedOptimizer)
    try:
        optimizer = make(model if ours else model.named_parameters())
        _check_steps(optimizer)
    except (TypeError, ValueError) as error:
        error.add_note(f"full_key: {_key(error)}")
        if "Muon only supports 2D" in str(error):
            error.add_note("`optim=muon` gives the other parameters to AdamW")
        raise
    return optimizer


def _check_steps(optimizer: Optimizer) -> None:
    if any(group.get("differentiable") for group in optimizer.param_groups):
        rule = "false, since a run trains leaves, through whose steps nothing is differentiated"
        raise Refused("differentiable", rule, True)


def _key(error: Exception) -> str:
    """Return the key of the config that an error of an optimizer is about."""
    if not isinstance(error, Refused):
        return "optim"
    return dotted("optim", error.path if error.of else "" if error.rule else error.part)


def _each(nodes: DictConfig) -> dict[str, Any]:
    """Return what stands in a group of which several may be chosen, by name."""
    return {str(name): instantiate(node) for name, node in nodes.items() if node is not None}
