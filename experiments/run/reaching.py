"""What a run reached: the figures of its last and its best weights, and those on the test part."""

from dataclasses import replace
from typing import Any

from experiments.results.evaluations import Record
from experiments.results.folder import RunFolder
from experiments.run.against import ATTACKING
from experiments.run.judging import Models, check_finite, judge, models, with_weights
from experiments.run.parts import Parts
from experiments.run.robust import evaluations, figures_of, remarks_on

Figures = dict[str, float]


def reached(parts: Parts, folder: RunFolder) -> dict[str, Any]:
    """Return the target, the final and the best figures, and what should be known of them.

    Figures under attacks and on corrupted images are kept in the folder as they come.
    """
    state, last, best = parts.state, parts.state.last, parts.state.best
    assert last is not None
    assert best is not None
    notes, record = remarks_on(parts), Record(folder.path)
    found = evaluations(parts, "test", "last", models(state), record, notes)
    final = _tested(parts, models(state)) | figures_of(parts, found)
    if best.step == last.step:  # the same weights
        for one in found:
            record.keep(replace(one, weights="best"))
        kept = final
    else:
        plain = state.plain or state.model
        found = evaluations(parts, "test", "best", with_weights(plain, best.weights), record, notes)
        kept = _tested(parts, with_weights(plain, best.weights)) | figures_of(parts, found)
    return {
        "target": state.target,
        "conditions": parts.robustness.labels(parts.data),
        "final": {"step": last.step, **_untimed(last.metrics), **final},
        "best": {"step": best.step, **_untimed(best.metrics), **kept},
        "notes": notes,
    }


def _untimed(metrics: Figures) -> Figures:
    """Return figures of the weights alone, by which runs that are the same are seen."""
    return {name: value for name, value in metrics.items() if name != ATTACKING}


def _tested(parts: Parts, judged: Models) -> Figures:
    """Return the figures on the test part, finite as all that are saved."""
    figures = judge(parts, "test", judged) if parts.data else {}
    check_finite(figures, parts.state)
    return figures
