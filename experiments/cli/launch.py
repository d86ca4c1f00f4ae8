"""From the command line to jobs: Hydra composes, a session runs them."""

import os
import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import hydra
import hydra.utils

from experiments.cli.command import check_command, for_each_job, with_choices, with_targets
from experiments.cli.errors import failure
from experiments.cli.groups import CONF
from experiments.cli.identity import schema
from experiments.cli.launcher import sharing
from experiments.cli.ranked import ranked
from experiments.cli.report import report_of
from experiments.cli.rerun import store_rerun, store_resume
from experiments.cli.searching import check_searched, without_ranges
from experiments.cli.session import Session
from experiments.cli.store import fill_store
from experiments.cli.sweep import Sweep
from experiments.cli.words import taken
from xformopt.refused import Refused

FULL_ERROR = "HYDRA_FULL_ERROR"


def launch(arguments: Sequence[str]) -> int:
    """Run a command line; return the exit status: 2 for a wrong command, 1 for a failed run."""
    return launched(arguments).status


class Launched(NamedTuple):
    """The exit status of a command, and its sweep, if it was one."""

    status: int
    sweep: Sweep | None


def launched(arguments: Sequence[str]) -> Launched:
    """Run a command line; return what came of it."""
    before = os.environ.get(FULL_ERROR, "0")
    os.environ[FULL_ERROR] = "1"
    session, sweeps = Session(wants_traceback=before != "0"), list[Sweep]()
    try:
        words = taken(arguments)
        session.rerun = [f"rerun={words.rerun}"] if words.rerun else []
        fill_store(words.trusted)
        others = with_choices(words.others)
        plain, ranges = without_ranges(others)
        if words.sweep.trials:
            others, session.ranges = plain, ranges
        else:
            check_searched(ranges, others)
        if words.sweep.resume and not any(a.startswith("hydra.sweep.dir=") for a in others):
            raise Refused("sweep.resume", "beside the folder", True, "`hydra.sweep.dir=DIR`")
        listed = [tuple(with_choices(one)) for one in words.sweep.list]
        session.sweep = words.sweep._replace(list=tuple(listed))
        for one in ((), *listed):
            check_command([*others, *one])
        name = "config"
        if words.rerun:
            name = store_rerun(words.rerun, others, words.trusted)
        if words.resume:
            name, session.resumes = store_resume(words.resume, words.trusted), words.resume
        main = hydra.main(config_path=str(CONF), config_name=name, **main_options())(session.job)
        session.schema, session.trusted = schema(), words.trusted
        with ranked(others) as own, sharing(session, sweeps):
            sys.argv[1:] = for_each_job(with_targets(own), chain.from_iterable(listed))
            main()
        if words.report:
            for sweep in sweeps:
                report_of(sweep.folder)
    except Exception as error:
        return Launched(session.report(failure(error)), None)
    finally:
        os.environ[FULL_ERROR] = before
    return Launched(session.status, next(iter(sweeps), None))


def main_options() -> dict[str, Any]:
    """Return what this Hydra's `main` is told: which version's ways, or which targets to trust.

    All are: a command line is its user's own, who may name any importable class.
    """
    trust = getattr(hydra.utils, "UNSAFE_DISABLE_EXECUTION_CHECKS", None)
    return {"version_base": "1.3"} if trust is None else {"execution_whitelist": trust}
