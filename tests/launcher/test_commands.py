"""Every command of the three pages: composed by default, and run, made short, where it is asked."""

import importlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "xformopt/README.md", "experiments/README.md")
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`(python -m [^`…\n]+)`")
MY_PARTS = re.compile(r"```python\n# my_parts.py\n(.*?)```", re.DOTALL)
START = "python -m "
COMPOSED = ("task=cifar10", "device=cuda", "wandb.mode=online", "fashion_mnist", "imagenette")
"""What needs a network, a GPU, or minutes: its config is composed, and no more."""
ELSEWHERE = ("torchrun", "python3 -m venv", "python -m experiments.bench")
"""`test_strategies.py`, `.ci/run` and `test_bench.py` run these."""
NAMES = {"RUN_OR_SWEEP_FOLDER": "FOLDER", "NAME": "lion"}
LONG = ("trainer.epochs", "trainer.steps", "trainer.eval_every")
SHORT = {
    "experiments": ["pictures=false"],
    "experiments.compare": ["pictures=false", "trials=2", "seeds=2"],
    "experiments.evaluate": ["eval.subset=9"],
}


def blocks() -> Iterator[Any]:
    for page in PAGES:
        text = (ROOT / page).read_text()
        found = [*BLOCK.findall(text), *dict.fromkeys(INLINE.findall(text))]
        for number, block in enumerate(found):
            lines = [line.split("  #")[0] for line in block.replace("\\\n", " ").splitlines()]
            own = [line for line in lines if line.strip() and not line.startswith(ELSEWHERE)]
            if own:
                yield pytest.param(own, id=f"{page}-{number}")


def words_of(line: str) -> list[str]:
    """Return the words of a command, of which a list has two values at most."""
    assert line.startswith(START), line
    return [_halved(NAMES.get(word, word)) for word in shlex.split(line.removeprefix(START))]


def _halved(word: str) -> str:
    key, equals, value = word.partition("=")
    if not equals or value[:1] in "[{" or "(" in value or "," not in value:
        return word
    return f"{key}={','.join(value.split(',')[:2])}"


def shortened(module: str, words: list[str]) -> list[str]:
    """Return a command that does the same for a few steps."""
    if module.startswith("xformopt") or "--help" in words:
        return words
    given = {word.partition("=")[0]: word for word in words}
    if "resume" in given or module == "experiments.report":
        return words
    short = [one for one in SHORT[module] if one.partition("=")[0] not in given]
    if module == "experiments.compare":
        short = SHORT[module]
    is_toy = given.get("task", "").removeprefix("task=") in ("rosenbrock", "himmelblau")
    if module != "experiments.evaluate":
        short += ["trainer.steps=2"] if is_toy else ["trainer.epochs=null", "trainer.steps=2"]
    if any(word.startswith(("eval.", "experiment=")) for word in words):
        short += ["eval.subset=9"]
    if "experiment" in given:
        short += ["optim=sgd_momentum", "seed=0"]
    keys = {word.partition("=")[0] for word in short}
    return [*(w for w in words if w.partition("=")[0] not in keys), *dict.fromkeys(short)]


def called(module: str, words: list[str], monkeypatch: Any) -> int:
    """Run a program in this process; return its exit status."""
    GlobalHydra.instance().clear()
    name = f"{module}.__main__" if module in ("experiments", "xformopt") else module
    monkeypatch.setattr(sys, "argv", [module, *words])
    try:
        return importlib.import_module(name).main() or 0
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: Any) -> Path:
    """The folders that the pages name: of a run, of two more, and of images."""
    place = tmp_path_factory.mktemp("place")
    for kind in ("a", "b"):
        for number in range(12):
            (place / "DIR" / kind).mkdir(parents=True, exist_ok=True)
            pixels = np.full((32, 32, 3), 20 * number, dtype=np.uint8)
            Image.fromarray(pixels).save(place / "DIR" / kind / f"{number}.png")
    found = "\n\n".join(MY_PARTS.findall((ROOT / "experiments/README.md").read_text()))
    (place / "my_parts.py").write_text(found)
    return place


@pytest.mark.parametrize("lines", [*blocks()])
def test_is_composed(
    lines: list[str], monkeypatch: Any, clean_hydra: None, capsys: Any, runs: Path
):
    """What a command sets is there to be set; those of other programs have tests of their own."""
    monkeypatch.chdir(runs)
    monkeypatch.syspath_prepend(str(runs))
    for line in lines:
        module, *words = words_of(line)
        if module == "experiments" and "--help" not in words:
            assert composed(words, monkeypatch) == 0, line
    capsys.readouterr()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("lines", [*blocks()])
def test_runs(
    lines: list[str], runs: Path, tmp_path: Path, monkeypatch: Any, clean_hydra: None, capsys: Any
):
    place = tmp_path / "place"
    shutil.copytree(runs, place)
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setenv("TRACKIO_DIR", str(place / "trackio"))
    words = ["trainer.epochs=null", "trainer.steps=2", "pictures=false"]
    for name in ("FOLDER", "FIRST", "SECOND"):
        if any(name in line for line in lines):
            assert called("experiments", [*words, f"hydra.run.dir={name}"], monkeypatch) == 0
    if any("hydra.sweep.dir=DIR" in line for line in lines):
        shutil.rmtree("DIR")
    for line in lines:
        module, *given = words_of(line)
        if not any(word in line for word in COMPOSED):
            assert called(module, shortened(module, given), monkeypatch) == 0, line
    capsys.readouterr()


def composed(words: list[str], monkeypatch: Any) -> int:
    """Compose the config of a command, of the first job of a sweep; return the exit status."""
    ours = ("-m", "sweep.", "rerun=", "resume=", "report=", "trust=")
    if any(word.startswith("resume=") for word in words):
        return 0
    trusted = [word for word in words if word.startswith("trust=")]
    left = [word for word in words if not word.startswith(ours) and "interval(" not in word]
    return called("experiments", [*trusted, *map(_first, left), "--cfg", "job"], monkeypatch)


def _first(word: str) -> str:
    key, equals, value = word.partition("=")
    return word if value[:1] in "[{" else f"{key}{equals}{value.split(',')[0]}"
