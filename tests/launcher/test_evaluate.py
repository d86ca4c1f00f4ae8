"""`python -m experiments.evaluate` and `results.load`: finished runs, judged anew and as tables."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import results
from experiments.evaluate import evaluate, main
from experiments.results import evaluations
from experiments.results.claim import PREFIX
from experiments.results.folder import RunFolder
from xformopt.refused import Refused

SHORT = ["trainer.epochs=2", "model.width=4", "pictures=false"]
FGSM = ["eval.attacks=[fgsm]", "eval.epsilon=[0.05,0.1]"]


class Said:
    """What a command printed, and its exit status."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def judge(cli: Any, capsys: Any) -> Callable[..., Said]:
    def run(*arguments: Any) -> Said:
        GlobalHydra.instance().clear()
        status = evaluate([*map(str, arguments)])
        return Said(status, *capsys.readouterr())

    return run


def files(folder: Path) -> dict[str, bytes]:
    """What a run left, beside who held it when."""
    found = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(PREFIX)]
    return {p.name: p.read_bytes() for p in found}


@pytest.fixture
def ran(cli: Any) -> Path:
    result = cli(*SHORT)
    assert result.status == 0, result.err
    return result.folder


class TestAddsToWhatIsThere:
    def test_what_is_missing_alone(self, judge: Any, ran: Path):
        before = files(ran)
        first = judge(ran, *FGSM)
        assert first.status == 0, first.err
        found = evaluations.read(ran)
        assert [one.level for one in found] == [0, 0.05, 0.1] * 2
        assert [one.weights for one in found] == ["last"] * 3 + ["best"] * 3
        after = files(ran)
        assert {name: after[name] for name in before} == before
        assert {*after} - {*before} == {"evaluations.jsonl", "robustness.png"}
        again = judge(ran, *FGSM)
        assert again.out.splitlines() == first.out.splitlines()[-3:]
        assert evaluations.read(ran) == found
        judge(ran, "eval.attacks=[fgsm]", "eval.epsilon=[0.1,0.2]", "pictures=false")
        more = evaluations.read(ran)
        assert more[:6] == found
        assert [one.level for one in more[6:]] == [0.2, 0.2]

    def test_what_the_run_would_have_said(self, cli: Any, judge: Any, ran: Path):
        """The figures are those of a run that was asked from the start."""
        asked = cli(*SHORT, *FGSM, "eval.corruptions=[fog]", "eval.subset=70")
        judge(ran, *FGSM, "eval.corruptions=[fog]", "eval.subset=70")
        expected, found = (
            {one.key: one.metrics for one in evaluations.read(folder)}
            for folder in (asked.folder, ran)
        )
        assert found == expected

    def test_other_settings_are_another_attack(self, judge: Any, ran: Path):
        for steps in (1, 2):
            judge(ran, "eval.attacks=[pgd_linf]", f"eval.attacks.pgd_linf.steps={steps}")
        attacks = [one for one in evaluations.read(ran) if one.kind == "attack"]
        assert [one.settings["steps"] for one in attacks] == [1, 1, 2, 2]

    def test_averages(self, cli: Any, judge: Any):
        folder = cli(*SHORT, "trainer.ema=0.9").folder
        judge(folder, *FGSM)
        assert {one.average for one in evaluations.read(folder)} == {"", "ema"}

    def test_a_sweep(self, cli: Any, judge: Any):
        swept = cli("-m", *SHORT, "optim=lion,muon").folder
        said = judge(swept, *FGSM)
        assert said.status == 0, said.err
        header, _, one, other = said.out.splitlines()[-4:]
        cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in (header, one, other)]
        assert cells[0] == ["run, last weights", "set", "clean", "fgsm_0.05", "fgsm_0.1"]
        assert {row[1] for row in cells[1:]} == {"optim=lion", "optim=muon"}
        assert all(0 <= float(cell) <= 1 for row in cells[1:] for cell in row[2:])

    def test_the_table_is_of_what_was_asked(self, judge: Any, ran: Path):
        """Other settings, other numbers of images on record are not mixed in."""
        weak = ["eval.attacks.pgd_linf.steps=1", "eval.attacks.pgd_linf.step_size=1/255"]
        pgd = ["eval.attacks=[pgd_linf]", "eval.epsilon=0.2", "pictures=false"]
        for settings in (weak, ["eval.attacks.pgd_linf.steps=20"], ["eval.subset=40"]):
            said = judge(ran, *pgd, *settings).out.splitlines()
            line = next(x for x in said if "last  pgd_linf 0.2" in x)
            assert said[-1].split("|")[-2].strip() == line.split("accuracy ")[1].split()[0]

    def test_what_is_told_apart_in_arrays(self, judge: Any, ran: Path):
        """Other settings and numbers of images are other attacks there, never one curve."""
        square = ["eval.attacks=[square_linf]", "eval.epsilon=[0.1,0.2]"]
        for more in (["40"], ["5"], ["5", "eval.subset=40"]):
            queries = f"eval.attacks.square_linf.queries={more[0]}"
            assert judge(ran, *square, queries, *more[1:], "pictures=false").status == 0
        loaded = results.load(ran)
        arrays, table = loaded.to_xarray(), loaded.evaluations()
        names = ["queries=40, 360 images", "queries=5, 360 images", "queries=5, 40 images"]
        assert {*arrays.attack.values} == {f"square_linf, {name}" for name in names}
        for name in names:
            under = arrays.attack_accuracy.sel(attack=f"square_linf, {name}", weights="last")
            own = table[(table.called == f"square_linf, {name}") & (table.weights == "last")]
            assert [*under.squeeze().values] == [*own.accuracy]

    def test_as_the_run_itself_asked(self, cli: Any, judge: Any):
        folder = cli(*SHORT, *FGSM).folder
        before = evaluations.read(folder)
        (folder / "evaluations.jsonl").unlink()
        said = judge(folder)
        assert said.status == 0, said.err
        found = evaluations.read(folder)
        assert [(one.key, one.metrics) for one in found] == [
            (one.key, one.metrics) for one in before
        ]

    def test_a_run_that_is_not_finished_is_noted(self, judge: Any, ran: Path):
        held = RunFolder(ran)
        held.write_summary(replace(held.summary(), status="interrupted"))
        assert "the run is interrupted: its last weights are not" in judge(ran, *FGSM).out

    def test_half_a_line(self, judge: Any, ran: Path):
        """What a kill left of a line is taken off, and measured anew."""
        judge(ran, *FGSM, "pictures=false")
        path = ran / "evaluations.jsonl"
        whole = path.read_text()
        path.write_text(whole[:-20])
        said = judge(ran, *FGSM, "pictures=false")
        assert said.status == 0, said.err
        assert len(said.out.splitlines()) == 4
        assert len(path.read_text().splitlines()) == len(whole.splitlines())

    def test_only_the_best_weights(self, judge: Any, ran: Path):
        (ran / "last.safetensors").unlink()
        said = judge(ran, *FGSM)
        assert said.status == 0, said.err
        assert all(cell.strip() for cell in said.out.splitlines()[-1].split("|")[3:-1])


class TestRefuses:
    BAD: Sequence[tuple[list[str], str]] = (
        ([], "at least one folder of a run or a sweep must be given; `--help` says how"),
        (["nowhere", *FGSM], "`nowhere` holds no run that began, with its `config.yaml`"),
        (["RAN"], "nothing is asked of the weights; `'eval.attacks=[pgd_linf]'` chooses one"),
        (["RAN", "eval.epsilon=0.1"], "`eval.epsilon` must be null without `eval.attacks`, got 0"),
        (["RAN", *FGSM, "eval.every=1"], "`eval.every` must be null of runs that are finished"),
        (["RAN", *FGSM, "seed=1"], "`seed`: nothing reads this key"),
        (["RAN", *FGSM, "rerun=RAN"], "`rerun` and `resume` are of `python -m experiments`"),
        (["RAN", *FGSM, "--multirun"], "`--multirun`: there is no such flag; `--help` says what"),
        (["RAN", "eval.attacks=[pgd_l2]", "eval.epsilon=9"], "`eval.attacks.pgd_l2.epsilon` must"),
        (["RAN", "eval.corruptions=[frog]"], "`eval.corruptions` must be names of corruptions"),
        (["RAN", *FGSM, "device=tpu"], "`device` must be auto, cpu, cuda or mps, got 'tpu'"),
        (["RAN", *FGSM, "pictures=maybe"], "`pictures` must be true or false, got 'maybe'"),
    )

    @pytest.mark.parametrize(("arguments", "said"), BAD, ids=lambda x: str(x)[:40])
    def test_commands(self, judge: Any, ran: Path, arguments: list[str], said: str):
        before = files(ran)
        result = judge(*(argument.replace("RAN", str(ran)) for argument in arguments))
        assert result.status == 2
        (line,) = result.err.splitlines()
        assert said in line
        assert files(ran) == before

    def test_a_toy(self, cli: Any, judge: Any):
        folder = cli("task=himmelblau", "trainer.steps=2").folder
        assert "the run is of a toy, which has no images to attack" in judge(folder, *FGSM).err

    def test_weights_of_another_network(self, cli: Any, judge: Any, ran: Path):
        """Another width, another number of classes; others of a sweep are judged."""
        other = cli(*SHORT[:1], "model.width=6").folder
        (ran / "last.safetensors").write_bytes((other / "last.safetensors").read_bytes())
        said = judge(ran, other, *FGSM, "pictures=false")
        assert said.status == 2
        (line,) = said.err.splitlines()
        assert re.search("`.*last.safetensors` holds the weights of another network than", line)
        assert not (ran / "evaluations.jsonl").exists()
        assert len(evaluations.read(other)) == 6

    def test_weights_that_cannot_be_read(self, judge: Any, ran: Path):
        (ran / "best.safetensors").write_bytes(b"nothing")
        said = judge(ran, *FGSM)
        assert said.status == 2
        assert "best.safetensors` cannot be read as weights" in said.err
        assert not (ran / "evaluations.jsonl").exists()

    def test_no_weights(self, cli: Any, judge: Any):
        folder = cli(*SHORT, "trainer.checkpoint=none", "trainer.checkpoint_every=null").folder
        assert "keeps no weights: `trainer.checkpoint=both` does" in judge(folder, *FGSM).err

    def test_a_config_that_names_others(self, judge: Any, ran: Path):
        text = (ran / "config.yaml").read_text()
        (ran / "config.yaml").write_text(
            text.replace("experiments.models.cnn.small_cnn", "os.system")
        )
        said = judge(ran, *FGSM).err
        assert "names `os.system`, which is neither ours nor an optimizer or layer" in said


def test_help(judge: Any):
    said = judge("--help")
    assert said.status == 0
    assert "RUN_OR_SWEEP_FOLDER" in said.out


def test_from_the_shell(ran: Path, monkeypatch: Any, capsys: Any):
    monkeypatch.setattr(sys, "argv", ["evaluate", str(ran), *FGSM, "pictures=false"])
    GlobalHydra.instance().clear()
    assert main() == 0
    assert "fgsm 0.05" in capsys.readouterr().out


class TestLoad:
    @pytest.fixture
    def swept(self, cli: Any) -> Path:
        more = ["eval.corruptions=[fog]", "eval.severities=[1,3]", "optim.lr_scale=0.5,1"]
        result = cli("-m", *SHORT, *FGSM, *more, "optim=lion,muon", "seed=0,1")
        assert result.status == 0, result.err
        return result.folder

    def test_tables(self, swept: Path):
        table = results.load(swept).to_pandas()
        assert len(table) == 8
        assert [*table.columns[:3]] == ["optim.lr_scale", "optim", "seed"]
        assert {*table["optim.lr_scale"]} == {0.5, 1}
        row = table[(table.optim == "muon") & (table["optim.lr_scale"] == 1) & (table.seed == 1)]
        held = results.load(row.iloc[0].folder)
        assert held.summaries[0].final["test_accuracy"] == row.iloc[0].test_accuracy
        assert held.summaries[0].best["test_accuracy"] == row.iloc[0].best_test_accuracy
        found = results.load(swept).evaluations()
        assert len(found) == 8 * 2 * 5
        assert {*found.kind} == {"clean", "attack", "corruption"}

    def test_arrays(self, swept: Path):
        loaded = results.load(swept)
        arrays, table = loaded.to_xarray(), loaded.to_pandas()
        own = {"optim": "lion", "optim.lr_scale": 0.5, "seed": 0}
        at = arrays.sel(own)
        row = table[(table.optim == "lion") & (table["optim.lr_scale"] == 0.5) & (table.seed == 0)]
        assert float(at.valid_accuracy) == row.iloc[0].valid_accuracy
        under = at.attack_accuracy.sel(weights="last", attack="fgsm", epsilon=0.1)
        assert float(under) == row.iloc[0]["test_fgsm_0.1_accuracy"]
        fog = at.corruption_accuracy.sel(weights="last", corruption="fog")
        assert [*fog.severity] == [1, 3]
        assert float(fog.mean()) == pytest.approx(row.iloc[0].test_corrupted_fog_accuracy)

    def test_settings_that_others_do_not_have(self, cli: Any):
        """What one run leaves as it is, and lists, are coordinates too."""
        one = cli(*SHORT, "optim.inner.lr=0.01", *FGSM).folder
        other = cli(*SHORT, "optim/transforms=[sign,top_q]", "eval.attacks=[mi_fgsm]").folder
        arrays = results.load(one, other).to_xarray()
        assert {*arrays["optim.inner.lr"].values} == {0.01, "default"}
        assert int(arrays.test_accuracy.notnull().sum()) == 2

    def test_one_run(self, cli: Any):
        folder = cli("task=himmelblau", "trainer.steps=2").folder
        arrays = results.load(folder).to_xarray()
        assert [*arrays.dims] == ["seed"]
        assert np.isfinite(float(arrays.distance.sel(seed=0)))

    def test_refuses(self, cli: Any, tmp_path: Path):
        with pytest.raises(Refused, match=r"holds no run that began, with its `config\.yaml`"):
            results.load(tmp_path)
        folders = [cli("task=himmelblau", "trainer.steps=2").folder for _ in range(2)]
        with pytest.raises(Refused, match="two runs have the same settings, seed=0"):
            results.load(*folders).to_xarray()
