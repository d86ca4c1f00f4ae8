"""`python -m experiments.report`: a page of runs, and the one that ends a sweep."""

import sys
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from experiments.cli.errors import one_line, reported
from experiments.cli.store import fill_store
from experiments.cli.table import shown
from experiments.cli.words import taken
from experiments.results.folder import save_traceback
from xformopt.refused import Refused

USAGE = """\
python -m experiments.report FOLDER… [to=DIR] [target=0.9] [trust=my_parts]

Writes `report.html`, one page that needs no network, of the runs of some folders, each that of a
run, a sweep or a comparison: finished, failed and partial ones. Beside it, `report/` has the same
figures as CSV and Parquet. `to` is the folder where they go, that of the runs if there is one
alone; `target` one of the goal, steps until which are compared; `trust` modules with columns."""

NEEDS = ("altair", "itables", "jinja2", "pandas", "pyarrow", "vl_convert")


def report(arguments: Sequence[str]) -> int:
    """Write the report of a command line; return the exit status."""
    if {"--help", "-h"} & set(arguments):
        print(USAGE)
        return 0
    try:
        folders, to, target = _command(arguments)
        missing = lacking()
        if missing:
            raise Refused(missing)
        from experiments.results.report.writing import write

        print(f"saved as {shown(write(folders, to, target))}")
    except OSError as error:
        return reported(Refused(f"`{error.filename}`: {error.strerror}; elsewhere: `to=DIR`"))
    except Exception as error:
        return reported(error)
    return 0


def report_of(folder: Path) -> None:
    """Write the report of what has ended; one that cannot be written is said, and fails nothing."""
    try:
        missing = lacking()
        if missing:
            print(f"note: {missing}; `report=false` asks for none")
            return
        from experiments.results.report.writing import write

        print(f"report: {shown(write([folder], folder))}")
    except Exception as error:
        where = save_traceback(folder, error, "report_traceback.txt")
        print(f"warning: no report: {one_line(error)}; see {where}", file=sys.stderr)


def lacking() -> str:
    """Return what to install where a report cannot be written, else ""."""
    from importlib.util import find_spec

    missing = [name for name in NEEDS if find_spec(name) is None]
    way_out = "`pip install 'xformopt[report]'`"
    return f"a report needs {', '.join(missing)}: {way_out}" if missing else ""


def _command(arguments: Sequence[str]) -> tuple[list[Path], Path, float | None]:
    words = dict(a.split("=", 1) for a in arguments if "=" in a and not Path(a).is_dir())
    named = [a for a in arguments if "=" not in a or Path(a).is_dir()]
    fill_store(taken([f"trust={words.pop('trust')}"] if "trust" in words else []).trusted)
    for word in words.keys() - {"to", "target"}:
        raise Refused(f"`{word}`: nothing reads it; `--help` says what there is")
    flag = next((a for a in named if a.startswith("-")), None)
    if flag:
        raise Refused(f"`{flag}`: there is no such flag; `--help` says what there is")
    if not named:
        raise Refused("at least one folder of runs must be given; `--help` says how")
    if words.get("to") == "":
        raise Refused("to", "a folder", "", "`to=DIR`")
    if len(named) > 1 and "to" not in words:
        raise Refused("to", "given beside several folders", None, "`to=DIR`")
    return [Path(a) for a in named], Path(words.get("to", named[0])), _number(words.get("target"))


def _number(text: str | None) -> float | None:
    try:
        value = None if text is None else float(text)
    except ValueError:
        value = float("nan")
    if value is not None and not isfinite(value):
        raise Refused("target", "a number", text)
    return value
