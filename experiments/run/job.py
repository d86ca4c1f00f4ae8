"""One run: train the parts, tell the observers, say what was reached."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from torch.optim import Optimizer

from experiments.observers.contract import Evaluated, Run
from experiments.observers.files import Files
from experiments.results.environment import environment
from experiments.results.folder import RunFolder, read_metrics
from experiments.results.summary import Summary
from experiments.run import against
from experiments.run.checkpoint import Checkpoints, Every, restore
from experiments.run.ending import ended_early, ended_worse
from experiments.run.interrupting import Interruptions
from experiments.run.judging import rates, whole_models
from experiments.run.listening import Listening
from experiments.run.loop import is_judged, train
from experiments.run.parts import Parts
from experiments.run.ranks import rank
from experiments.run.reaching import reached
from experiments.run.stepping import precision
from experiments.run.watching import remarks
from xformopt.optim import parts_of


def run(
    parts: Parts,
    folder: RunFolder,
    summary: Summary,
    explain: Callable[[BaseException], str],
    checkpoint: Path | None = None,
) -> Summary:
    """Train what was built; return the summary, which the observers are told of a failure too.

    Args:
        parts: what is trained.
        folder: where the run's files go.
        summary: what is known before: seed and overrides.
        explain: puts an error into one line.
        checkpoint: what the run goes on from, where it is resumed.
    """
    began = perf_counter()
    held = restore(checkpoint, parts.state, parts.device) if checkpoint else {}
    earlier = parts.state.seconds
    listening = Listening(Files(folder), parts.observers, folder.path)
    try:
        summary = _described(parts, summary)
        folder.write_summary(summary)
        folder.keep_metrics(parts.state.last.step if parts.state.last else -1)
        listening.start(_run(parts, folder, summary))
        listening.load_state_dict(held)
        _train(parts, listening, folder)
        figures = reached(parts, folder)
        first = next(iter(read_metrics(folder.path)), {})  # none on other ranks that resume
        notes = (*summary.notes, *figures.pop("notes"), *ended_worse(parts, first))
        summary = replace(summary, status="finished", notes=notes, **figures)
    except BaseException as error:
        status = "failed" if isinstance(error, Exception) else "interrupted"
        summary = replace(summary, status=status, error=explain(error))
        raise
    finally:
        attacking = against.remarks(parts)
        notes = (*summary.notes, *remarks(parts.state), *attacking, *ended_early(parts))
        seconds = round(earlier + perf_counter() - began, 3)
        listening.end(replace(summary, notes=notes, seconds=seconds))
    return replace(summary, notes=notes, seconds=seconds)


def _train(parts: Parts, listening: Listening, folder: RunFolder) -> None:
    """Train; tell of each event, and save checkpoints between the steps, before an interruption.

    The first of several ranks stops when it has saved; the others, which go on, miss it then.
    """
    state, kept = parts.state, None
    if parts.trainer.is_resumable and rank() == 0:
        kept = Checkpoints(folder.path, Every.of(parts.trainer.checkpoint_every), state.step)
    with Interruptions(held=parts.trainer.is_resumable) as interruptions:
        for event in train(parts):
            listening.on(event)
            if kept and (isinstance(event, Evaluated) or not is_judged(parts)):
                if interruptions.came or kept.is_due(state.step):
                    folder.check_is_held()
                    kept.save(state, listening.state_dict())
                interruptions.act()
        if kept:
            kept.save(state, listening.state_dict())


def _described(parts: Parts, summary: Summary) -> Summary:
    """Return the summary with what is known before a run."""
    optimizer, model = parts.state.optimizer, parts.state.model
    chain = getattr(optimizer, "transforms", {})
    return replace(
        summary,
        optimizer=_chains(optimizer),
        task=parts.name,
        goal=parts.goal,
        model=parts.model_name,
        inner=_inner(optimizer),
        transforms=tuple(f"{name}: {link!r}" for name, link in chain.items()),
        parameters=sum(p.numel() for p in model.parameters()),
        epoch=parts.batches.per_epoch if parts.batches else 0,
        notes=parts.notes,
        environment=environment(parts.device),
    )


def _run(parts: Parts, folder: RunFolder, summary: Summary) -> Run:
    return Run(
        name=parts.name,
        title=summary.title,
        goal=parts.goal,
        metrics=parts.task.metrics,
        conditions=parts.robustness.labels(parts.data),
        begin=parts.state.step,
        steps=parts.length.steps,
        batch=parts.batches.size if parts.batches else 0,
        folder=folder.path,
        model=parts.state.plain or parts.state.model,
        precision=lambda: precision(parts.trainer, parts.device),
        models=lambda: whole_models(parts.state),
        rate=lambda: max(rates(parts.state.optimizer), default=0.0),
    )


def _chains(optimizer: Optimizer) -> str:
    """Return each chain with the inner optimizer behind it; alike ones of several routes once."""
    parts = parts_of(optimizer).values()
    chains = [" → ".join([*getattr(part, "transforms", {}), _class(part)]) for part in parts]
    return " | ".join(dict.fromkeys(chains))


def _inner(optimizer: Optimizer) -> str:
    """Return the class of the inner optimizer; of several behind routes, each once."""
    return ", ".join(dict.fromkeys(map(_class, parts_of(optimizer).values())))


def _class(optimizer: Optimizer) -> str:
    return type(getattr(optimizer, "inner_opt", optimizer)).__name__
