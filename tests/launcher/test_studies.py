"""The studies of `conf/experiment`: each runs by the commands of its first lines, made short."""

import importlib
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments.cli.groups import CONF

STUDIES = sorted((CONF / "experiment").glob("*.yaml"))
START = "# python -m "
SHORT = {
    "experiments": ("hydra.sweep.dir=swept", "seed=0", "trainer.steps=2", "report=false"),
    "experiments.compare": ("trainer.steps=2", "trials=1", "seeds=1"),
    "experiments.evaluate": ("eval.subset=8", "eval.severities=[1]"),
    "experiments.report": (),
}
IMAGES = ("trainer.epochs=null", "trainer.eval_every=2", "trainer.batch_size=8")
ATTACKED = ("eval.subset=8", "eval.severities=[1]", "optim=sgd_momentum")
FASHION = Path("/usr/share/datasets/fashion-mnist")


def commands(study: Path) -> list[list[str]]:
    """Return the words of the commands that the first lines of a study say."""
    lines = study.read_text().splitlines()
    return [shlex.split(line.removeprefix(START)) for line in lines if line.startswith(START)]


def shortened(module: str, words: list[str], text: str) -> list[str]:
    """Return the words of a command that makes few short runs, of two contenders at most."""
    given = {word.partition("=")[0]: word for word in words}
    if "optim" in given:
        given["optim"] = ",".join(given["optim"].split(",")[:2])
    more = [*SHORT[module]]
    if module in ("experiments", "experiments.compare"):
        more += IMAGES if "/task: simplex" not in text else ()
        more += ATTACKED if "corruptions: true" in text else ()
    return [*(given | {word.partition("=")[0]: word for word in more}).values()]


def marked(study: Path) -> Any:
    """Return a study; those of 70,000 images take half a minute each, and are `long`."""
    marks = [pytest.mark.long] if "fashion_mnist" in study.read_text() else []
    return pytest.param(study, id=study.stem, marks=marks)


@pytest.mark.parametrize("study", [*map(marked, STUDIES)])
@pytest.mark.timeout(300)
def test_runs(study: Path, tmp_path: Path, monkeypatch: Any, clean_hydra: None):
    if "fashion_mnist" in study.read_text() and not FASHION.exists():
        pytest.skip("no Fashion-MNIST: `apt-get install dataset-fashion-mnist`")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    assert commands(study)
    for module, *words in commands(study):
        GlobalHydra.instance().clear()
        program = importlib.import_module(
            "experiments.__main__" if module == "experiments" else module
        )
        monkeypatch.setattr(sys, "argv", [module, *shortened(module, words, study.read_text())])
        assert program.main() == 0
    assert [*tmp_path.rglob("summary.json")]
    assert [*tmp_path.rglob("report.html")] or commands(study)[0][0] == "experiments"
