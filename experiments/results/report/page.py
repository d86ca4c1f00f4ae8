"""The page itself: what was found, laid out by a template that escapes all that it is given."""

import secrets
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from experiments.results.report.across import heat_map
from experiments.results.report.charts import SHOWN, Chart
from experiments.results.report.conditions import findings, over_all, points
from experiments.results.report.finding import Finding
from experiments.results.report.links import links
from experiments.results.report.reading import Problem
from experiments.results.report.robust import robust
from experiments.results.report.rows import Failed, Row, failures, leaderboard
from experiments.results.report.sensitivity import sensitivity
from experiments.results.report.toys import moving
from experiments.results.report.training import arrival, curves
from experiments.results.report.verdict import Verdict

FAILURES = 50
"""So many failures are on the page."""


class Section(NamedTuple):
    """What a page shows of a problem."""

    name: str
    title: str
    sentence: str
    caveats: Sequence[str]
    under: Sequence[str]
    study: str
    columns: Sequence[str]
    rows: Sequence[Row]
    charts: Sequence[Chart]
    failures: Sequence[Failed]
    more: int


def page(problems: Sequence[Problem], folders: Sequence[str]) -> str:
    """Return a page that needs nothing beside itself.

    Its scripts run by a nonce alone, and it may not load anything: what stands in run folders is
    text on it, whatever it looks like.
    """
    verdicts = [Verdict(one) for one in problems]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    sections = [_section(number, verdict) for number, verdict in enumerate(verdicts)]
    most = max((len(one.contenders) for one in problems), default=0)
    return environment.from_string(_file("page.html")).render(
        title=_title(problems),
        counts=_counts(problems),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        folders=folders,
        nonce=secrets.token_urlsafe(16),
        across=[*heat_map(verdicts)],
        sections=sections,
        robust=any(one.name == "robust" for section in sections for one in section.charts),
        drawn=f"Pictures show the {SHOWN} best contenders of a problem." if most > SHOWN else "",
        **{name: _foreign(text) for name, text in _scripts().items()},
    )


def _section(number: int, verdict: Verdict) -> Section:
    problem, held = verdict.problem, points(verdict.problem)
    means = over_all(held)
    rows = leaderboard(verdict, means)
    shown = verdict.ranked[:SHOWN]
    failed = [*failures(problem)]
    charts = [
        *robust(verdict, held, means, shown),
        *curves(verdict, shown),
        *arrival(verdict, shown),
        *sensitivity(problem, shown),
        *moving(problem, shown),
        *links(shown),
    ]
    return Section(
        name=f"problem-{number}",
        title=problem.name or "runs that never began",
        sentence=verdict.sentence,
        caveats=verdict.caveats,
        under=[_said(one) for one in findings(verdict, means)],
        study=problem.study.command if problem.study else "",
        columns=[*dict.fromkeys(name for row in rows for name in row.cells)],
        rows=rows,
        charts=charts,
        failures=failed[:FAILURES],
        more=max(0, len(failed) - FAILURES),
    )


def _said(one: Finding) -> str:
    """Return what was found, and what could have been."""
    seen = f" A difference of {one.least:.3g} would be seen in 80 % of studies."
    return one.sentence + (seen if one.least < inf else "")


def _title(problems: Sequence[Problem]) -> str:
    names = [one.name for one in problems if one.name]
    contenders = len({one.name for problem in problems for one in problem.contenders})
    of = f"{contenders} contenders" if contenders > 1 else "One contender"
    return f"{of} on {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"


def _counts(problems: Sequence[Problem]) -> str:
    states = Counter(
        run.status
        for problem in problems
        for one in problem.contenders
        for run in one.all_runs.values()
    )
    said = ", ".join(f"{count} {state}" for state, count in states.most_common())
    return f"{states.total()} run{'s' if states.total() != 1 else ''}: {said}"


@cache
def _scripts() -> dict[str, str]:
    """Return scripts and styles: our own, and those that installed packages ship."""
    vega: Any = import_module("vl_convert")  # whose stub asks for more than it needs

    tables = files("itables") / "html"
    bundle = (tables / "dt_bundle.js").read_bytes()
    return {
        "vega": vega.javascript_bundle(),
        "table_source": b64encode(bundle).decode(),
        "table_style": (tables / "dt_bundle.css").read_text(),
        "style": _file("page.css"),
        "script": _file("page.js"),
    }


def _foreign(text: str) -> Any:
    """Return a script or style as it is, which ends where its element does."""
    return Markup(text.replace("</script", "<\\/script"))


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text()
