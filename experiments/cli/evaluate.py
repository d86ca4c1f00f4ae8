"""`python -m experiments.evaluate`: attacks and corruptions of the weights of finished runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from hydra_zen import instantiate
from omegaconf import DictConfig

from experiments.cli.command import check_command, with_choices
from experiments.cli.errors import reported
from experiments.cli.groups import CONF
from experiments.cli.launch import main_options
from experiments.cli.rerun import saved_config
from experiments.cli.store import fill_store
from experiments.cli.table import shown, table_of
from experiments.cli.words import taken
from experiments.evaluation.robustness import CHOOSE, Robustness
from experiments.observers.robustness import draw
from experiments.results.evaluations import Evaluation
from experiments.results.folder import RunFolder, runs_in, status_in
from experiments.run.anew import Finished, judge_anew
from experiments.run.build import judged
from experiments.run.world import set_up
from xformopt.refused import Refused, under

USAGE = """\
python -m experiments.evaluate RUN_OR_SWEEP_FOLDER… 'eval.attacks=[NAME]' [eval.epsilon=[0,8/255]]

Judges the last and the best weights of each run on test, and appends what is not on record to its
`evaluations.jsonl`: what the command asks, or what the run itself did. Keys: those of `eval` that
`python -m experiments --help` shows, and `device`, `threads`, `pictures`, `trust`."""


class Command(NamedTuple):
    """What is judged, under what, and whose packages a saved config may name."""

    folders: tuple[Path, ...]
    cfg: DictConfig
    robustness: Robustness
    trusted: tuple[str, ...]


def evaluate(arguments: Sequence[str]) -> int:
    """Judge the runs of a command line; return the exit status, which the worst decides."""
    if {"--help", "-h"} & set(arguments):
        print(USAGE)
        return 0
    try:
        command = _command(arguments)
    except Exception as error:
        return reported(error)
    status, judged = 0, dict[Path, list[Evaluation]]()
    for folder in command.folders:
        try:
            judged[folder] = _judge(folder, command)
        except Exception as error:
            status = max(status, reported(error, f"{shown(folder)}: "))
    if judged:
        print(table_of(judged))
    return status


def _command(arguments: Sequence[str]) -> Command:
    named = [a for a in arguments if "=" not in a or Path(a).is_dir()]
    words = taken([a for a in arguments if a not in named])
    if words.rerun or words.resume:
        raise Refused("`rerun` and `resume` are of `python -m experiments`: name a folder alone")
    flag = next((a for a in named if a.startswith("-")), None)
    if flag:
        raise Refused(f"`{flag}`: there is no such flag; `--help` says what there is")
    folders = tuple(run for folder in named for run in runs_in(Path(folder)))
    if not folders:
        raise Refused("at least one folder of a run or a sweep must be given; `--help` says how")
    fill_store(words.trusted)
    overrides = with_choices(words.others)
    check_command(overrides)
    cfg = _composed(overrides)
    robustness = instantiate(cfg.eval)
    if not isinstance(cfg.pictures, bool):
        raise Refused("pictures", "true or false", cfg.pictures)
    if robustness.every is not None:
        raise Refused("eval.every", "null of runs that are finished", robustness.every)
    return Command(folders, cfg, robustness, words.trusted)


def _composed(overrides: Sequence[str]) -> DictConfig:
    version = {"version_base": "1.3"} if "version_base" in main_options() else {}
    with initialize_config_dir(str(CONF), **version):
        return compose("evaluate", overrides=[*overrides])


def _judge(folder: Path, command: Command) -> list[Evaluation]:
    """Judge one run, and say what is new as it comes; return all that was asked."""
    notes, found = list[str](), list[Evaluation]()
    run, asked = _finished(folder, command)
    summary = status_in(folder)
    with RunFolder(folder).held():
        if summary.status != "finished":
            notes.append(f"the run is {summary.status}: its last weights are not those of its end")
        for one, is_new in judge_anew(run, asked, notes):
            found.append(one)
            if is_new:
                print(f"{shown(folder)}  {_line(one)}", flush=True)
        if command.cfg.pictures and summary.goal:
            draw(folder, summary.title, summary.goal)
    for note in notes:
        print(f"note: {shown(folder)}: {note}", flush=True)
    return found


def _finished(folder: Path, command: Command) -> tuple[Finished, Robustness]:
    """Return what is judged, and under what: as the command says, or as the run does."""
    saved: Any = saved_config("folder", folder, command.trusted)
    device = set_up(command.cfg.device, command.cfg.threads, saved.seed)
    task, data, model = judged(saved)
    if data is None:
        raise Refused("the run is of a toy, which has no images to attack")
    robustness = command.robustness or instantiate(saved.eval)
    if not robustness:
        raise Refused(f"nothing is asked of the weights; {CHOOSE}")
    with under("eval"):
        robustness.check(data)
    trainer = instantiate(saved.trainer)
    run = Finished(folder, task, data.to(device), model.to(device), trainer, device)
    return run, robustness


def _line(one: Evaluation) -> str:
    weights = "_".join(filter(None, (one.weights, one.average)))
    level = "" if one.kind == "clean" else f" {one.level:.4g}"
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in one.metrics.items())
    return f"{weights}  {one.name}{level}  {metrics}  {one.seconds:.1f} s"
