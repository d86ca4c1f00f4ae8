"""Jobs that are listed, and trials in search spaces."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from experiments.sweeps.points import points
from tests.test_configs import composed, trained
from xformopt import recipes
from xformopt.recipes import Range

TOY = ("-m", "task=himmelblau", "trainer.steps=2", "task.starts=2")
AGAIN = "sweep.resume=true"


def set_in(result: Any, *keys: str) -> list[tuple[Any, ...]]:
    configs = [OmegaConf.load(job / "config.yaml") for job in result.jobs]
    return [tuple(OmegaConf.select(cfg, key) for key in keys) for cfg in configs]


class TestSpaces:
    @pytest.mark.usefixtures("clean_hydra")
    @pytest.mark.parametrize("name", recipes.names())
    def test_each_recipe_steps_at_the_ends_of_its_space(self, name: str):
        space = recipes.space(name)
        for end in (0.0, 1.0):
            set_here = [f"optim.{key}={searched.at(end)}" for key, searched in space.items()]
            node = composed(f"optim={name}", *set_here).optim
            for key, searched in space.items():
                assert OmegaConf.select(node, key) == searched.at(end)
            if not recipes.get(name).routes and recipes.get(name).purpose == "training":
                trained(node)

    @pytest.mark.parametrize("name", recipes.inner_classes())
    def test_each_inner_optimizer_has_a_rate(self, name: str):
        assert "lr_scale" in recipes.space(inner=name)

    @given(st.floats(1e-6, 1.0), st.floats(1.5, 1e6), st.floats(0, 1), st.booleans())
    def test_points_are_within(self, low: float, factor: float, share: float, by_factors: bool):
        found = Range(low, low * factor, by_factors).at(share)
        assert low * 0.999 <= found <= low * factor * 1.001

    @pytest.mark.parametrize("sampler", ["halton", "random"])
    def test_more_points_begin_with_the_same(self, sampler: Any):
        space = {"a": Range(1.0, 2.0), "b": Range(0.0, 1.0, log=False)}
        assert points(space, 20, sampler)[:7] == points(space, 7, sampler)

    def test_halton_leaves_no_part_empty(self):
        held = [one["a"] for one in points({"a": Range(0.0, 1.0, log=False)}, 16, "halton")]
        assert {int(x * 8) for x in held} == set(range(8))


class TestList:
    def test_inline(self, cli: Any):
        listed = "sweep.list=[{optim: lion, optim.lr_scale: 3}, {optim.inner: sgd}]"
        result = cli(*TOY, listed, "seed=0,1")
        assert result.status == 0, result.err
        rates = set_in(result, "optim.lr_scale", "optim.inner._target_", "seed")
        assert [(scale, seed) for scale, _, seed in rates] == [(3, 0), (1.0, 0), (3, 1), (1.0, 1)]

    def test_a_file(self, cli: Any, tmp_path: Path):
        file = tmp_path / "jobs.yaml"
        file.write_text(yaml.safe_dump([{"seed": 3, "optim.lr_scale": 0.5}, {"seed": 4}]))
        result = cli(*TOY, f"sweep.list={file}")
        assert set_in(result, "seed", "optim.lr_scale") == [(3, 0.5), (4, 1.0)]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["sweep.list=nowhere.yaml"], "`sweep.list` must be a list, or a file that is there"),
            (["sweep.list=[1]"], "`sweep.list` must be a list of settings, a mapping a job, got"),
            (["sweep.list=[{optim: nonsense}]"], "`optim=nonsense`: there is no such option"),
            (["sweep.list=[{seed: 1}]", "seed=0,1"], "`seed`: the command sets it, and so does"),
        ],
    )
    def test_bad_ones(self, cli: Any, words: list[str], said: str):
        result = cli(*TOY, *words)
        assert result.status == 2
        assert said in result.line
        assert not result.jobs


class TestTrials:
    def test_of_its_own_space(self, cli: Any):
        result = cli(*TOY, "optim=lion,normalized_sgd", "sweep.trials=2", "seed=0,1")
        assert result.status == 0, result.err
        keys = ("optim.lr_scale", "optim.transforms.weight_decay.weight", "seed")
        found = set_in(result, *keys)
        assert len(found) == 8
        assert found[0][:2] == found[2][:2]  # for each seed the same places
        assert [one[0] for one in found[:2]] == [one[0] for one in found[4:6]]
        assert found[0][1] is not None
        assert found[4][1] is None

    def test_what_is_set_is_not_searched(self, cli: Any):
        result = cli(*TOY, "optim=lion", "optim.lr_scale=2", "sweep.trials=2")
        assert [one[0] for one in set_in(result, "optim.lr_scale")] == [2, 2]

    def test_of_ranges(self, cli: Any):
        by_factors = "optim.lr_scale=tag(log,interval(0.01,100))"
        result = cli(*TOY, by_factors, "sweep.trials=3", "sweep.sampler=random")
        found = [one[0] for one in set_in(result, "optim.lr_scale")]
        assert len({*found}) == 3
        assert all(0.01 <= x <= 100 for x in found)

    def test_of_whole_numbers(self, cli: Any):
        result = cli(*TOY, "task.dim=interval(2,9)", "task=rastrigin", "sweep.trials=4")
        assert result.status == 0, result.err
        assert all(isinstance(one[0], int) for one in set_in(result, "task.dim"))

    def test_wider(self, cli: Any):
        first = cli(*TOY, "optim=lion", "sweep.trials=2")
        more = cli(*TOY, "optim=lion", "sweep.trials=4", AGAIN, folder=first.folder)
        assert more.status == 0, more.err
        assert len(more.jobs) == 4

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["sweep.trials=0"], "`sweep.trials` must be an int >= 1 or null, got 0"),
            (["sweep.sampler=random"], "`sweep.sampler`: nothing reads it without `sweep.trials="),
            (["sweep.trials=2", "sweep.sampler=best"], "must be one of halton, random, got 'best'"),
            (
                ["sweep.trials=2", "optim.lr_scale=interval(2,1)"],
                "`optim.lr_scale` must be an interval from low to high, got",
            ),
            (
                ["sweep.trials=2", "optim=normalized_sgd", "optim.lr_scale=1"],
                "nothing of `optim=normalized_sgd` is left to search",
            ),
        ],
    )
    def test_bad_ones(self, cli: Any, words: list[str], said: str):
        result = cli(*TOY, *words)
        assert result.status == 2
        assert said in result.line


class TestOptuna:
    WORDS = (
        *TOY,
        "hydra/sweeper=optuna",
        "optim.lr_scale=tag(log,interval(0.01,100))",
        "optim/inner=sgd,adam",
        "hydra.sweeper.n_jobs=1",
    )

    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

    @pytest.mark.filterwarnings("ignore")
    def test_goes_on_with_what_is_finished(self, cli: Any):
        first = cli(*self.WORDS, "hydra.sweeper.n_trials=2")
        assert first.status == 0, first.err
        assert len(first.jobs) == 2
        more = cli(*self.WORDS, "hydra.sweeper.n_trials=3", AGAIN, folder=first.folder)
        assert more.status == 0, more.err
        assert "note: the study begins with 2 finished runs" in more.out
        assert len(more.jobs) == 3
        best = min(job["final"]["distance"] for job in more.summaries)
        found = OmegaConf.load(more.folder / "optimization_results.yaml")
        assert OmegaConf.select(found, "best_value") == best

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("word", ["sweep.trials=2", "sweep.list=[{seed: 1}]"])
    def test_its_trials_are_its_own(self, cli: Any, word: str):
        result = cli(*TOY, "hydra/sweeper=optuna", "optim/inner=sgd,adam", word)
        assert result.status == 2
        assert "`hydra/sweeper=basic` alone reads it" in result.line


class TestCompare:
    """`python -m experiments.compare`."""

    WORDS = (
        "task=digits",
        "model=mlp",
        "trainer.epochs=null",
        "trainer.steps=12",
        "pictures=false",
    )

    @pytest.fixture
    def compare(self, cli: Any, tmp_path: Path, capsys: Any):
        from experiments.cli.compare import compare

        def run(*words: str) -> tuple[int, str, str]:
            status = compare([*self.WORDS, f"folder={tmp_path}/study", *words])
            return status, *capsys.readouterr()

        return run

    def test_a_study(self, compare: Any, tmp_path: Path):
        words = ("optim=sgd_momentum,lion", "target=0.2")
        status, out, err = compare(*words, "trials=3", "seeds=3")
        assert status == 0, err
        report = (tmp_path / "study/comparison.md").read_text()
        assert report in out
        finals = [*(tmp_path / "study/final").glob("*/*/summary.json")]
        assert sorted(path.parent.name for path in finals) == ["1", "1", "2", "2", "3", "3"]
        held = {name: [] for name in ("sgd_momentum", "lion")}
        for path in finals:
            summary = json.loads(path.read_text())
            (name,) = (name for name in held if f"optim={name}" in summary["overrides"])
            held[name].append(summary["final"]["test_accuracy"])
        for name, own in held.items():
            assert f"| {name} " in report
            assert f"| {sum(own) / 3:.4g} ± " in report
        assert "| 3/3    | 3/3   | 0 " in report
        assert "With 3 seeds a pair whose differences spread as those of all pairs" in report
        best = {
            name: max(
                (one for one in self.trials(tmp_path) if f"optim={name}" in one["overrides"]),
                key=lambda one: one["final"]["valid_accuracy"],
            )
            for name in held
        }
        for job in yaml.safe_load((tmp_path / "study/chosen.yaml").read_text()):
            (name,) = (name for name in held if f"optim={name}" in job)
            assert {*job} <= set(best[name]["overrides"])
        status, _, err = compare(*words, "trials=3", "seeds=4")
        assert status == 0, err
        assert len([*(tmp_path / "study/final").glob("*/*/summary.json")]) == 8
        assert len(self.trials(tmp_path)) == 6

    def trials(self, folder: Path) -> list[dict[str, Any]]:
        found = sorted((folder / "study/trials").glob("*/*/summary.json"))
        return [json.loads(path.read_text()) for path in found]

    def test_its_folder_is_its_own(self, compare: Any, cli: Any, tmp_path: Path):
        words = ("optim=sgd_momentum,lion", "trials=1", "seeds=1", "trainer.steps=1")
        assert compare(*words, "optim.foo=1")[0] == 2
        status, _, err = compare(*words, "target=1.5")
        assert (status, err) == (
            2,
            "error: `target` must be at most 1 for valid_accuracy, got 1.5\n",
        )
        assert compare(*words, "device=cpu")[0] == 0
        report = (tmp_path / "study/comparison.md").read_text()
        assert "python -m experiments.compare task=digits model=mlp" in report
        status, _, err = compare(*words[:-1], "trainer.steps=2")
        assert status == 2
        assert "` holds a comparison with `trainer.steps=1`; another folder: `folder=DIR`" in err
        assert (tmp_path / "study/comparison.md").read_text() == report
        cli("-m", *self.WORDS, "trainer.steps=1", folder=tmp_path / "sweep")
        status, _, err = compare(*words, f"folder={tmp_path}/sweep")
        assert status == 2
        assert "` holds other runs; another folder: `folder=DIR`" in err

    def test_one_that_fails_is_shown(self, compare: Any, tmp_path: Path):
        words = ("optim.inner=sparseadam,sgd", "trials=1", "seeds=2", "eval.subset=50")
        status, _, err = compare(*words, "eval.attacks=[fgsm]", "eval.epsilon=0.1")
        assert status == 1, err
        report = (tmp_path / "study/comparison.md").read_text()
        assert "| optim/inner=sparseadam |" in report
        assert "| optim/inner=sgd        |" in report
        assert "| 0/1 " in report

    def test_each_problem_has_its_report(self, compare: Any, tmp_path: Path):
        """Whatever the order of keys, what is appended, and how it is searched."""
        words = ("schedule=constant,cosine", "optim=lion", "data.valid=0.1,0.2")
        appended = (
            "+optim/transforms=clip_norm,soft_clip",
            "optim.lr_scale=tag(log,interval(1,9))",
        )
        more = ("trials=2", "seeds=2", "sweep.sampler=random", "target=0.1,1.0")
        status, _, err = compare(*words, *appended, *more)
        assert status == 0, err
        report = (tmp_path / "study/comparison.md").read_text()
        for valid in (0.1, 0.2):
            own = report.partition(f"## data.valid={valid}\n")[2].partition("## ")[0]
            for contender in ("schedule=constant", "schedule=cosine"):
                for link in ("clip_norm", "soft_clip"):
                    assert f"| {contender} optim/transforms={link}" in own
            assert own.count("| 2/2    | 2/2   | 0 ") == 4
            assert own.count(" steps, ") == (4 if valid == 0.1 else 0)  # none comes up to 1
        _, own = report.split("## all 2 problems\n")
        assert "| contender " in own
        assert own.count(" 0.50 ") >= 4  # all begin above 0.1, so that each has the one problem
        assert len(self.trials(tmp_path)) == 16

    def test_what_stands_below_a_group_that_is_listed(self, cli: Any):
        listed = "sweep.list=[{task: himmelblau}, {task: beale}]"
        result = cli("-m", listed, "task.starts=3", "trainer.steps=2")
        assert result.status == 0, result.err
        assert set_in(result, "task.starts") == [(3,), (3,)]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["optim=lion"], "nothing is compared: name contenders, as `optim=sgd_momentum,lion`"),
            (["optim=lion,muon", "seeds=0"], "`seeds` must be an int >= 1, got 0"),
            (["optim=lion,muon", "target=high"], "`target` must be a number, or left out"),
            (["optim=lion,muon", "target=[0.9,0.8]"], "`target` must be a number, or left out"),
            (
                ["optim=lion,muon", "hydra.sweep.dir=d"],
                "`hydra.sweep.dir`: a comparison has its own",
            ),
            (["optim=lion,muon", "target=nan"], "`target` must be a number, or left out"),
            (
                ["optim=lion,muon", "task=glob(dig*)", "target=0.9"],
                "`task` must be values that are named, where there is a `target`",
            ),
            (
                ["optim=lion,muon", "data.valid=0.1,0.2", "target=[0.9]"],
                "`target` must be a number, or one for each of 2 problems, or left out, got [0.9]",
            ),
            (
                ["optim=lion,muon", "seed=1"],
                "`seed`: a comparison has its own; `trials=N`, `seeds=N`",
            ),
            (["optim=lion,muon", "sweep.trials=3"], "`sweep.trials`: a comparison has its own"),
            (["optim=lion,muon", "optim.foo=1"], "optim.foo"),
        ],
    )
    def test_bad_commands(self, compare: Any, words: list[str], said: str):
        status, _, err = compare(*words)
        assert status == 2
        assert said in err
        assert len(err.splitlines()) == 1
