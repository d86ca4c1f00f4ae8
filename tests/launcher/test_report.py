"""The report: what it says of runs, what it writes, and what a browser makes of it."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
import pytest

from experiments.cli import report as reports
from experiments.report import report
from experiments.results.evaluations import NAME as EVALUATIONS
from experiments.results.folder import CONFIG, METRICS, TRACEBACK, RunFolder
from experiments.results.metric import Metric
from experiments.results.report.columns import COLUMNS
from experiments.results.report.reading import problems_in
from experiments.results.report.verdict import Verdict
from experiments.results.report.writing import write
from experiments.results.statistics import differences, interval
from experiments.results.study import Study
from experiments.results.summary import Summary
from xformopt.refused import Refused

GOAL = Metric("valid_accuracy", "max", limit=1)
EVIL = (
    '</script><img src=x onerror="document.title=`taken`"><script>document.title="taken"</script>'
)
CHROMIUM = shutil.which("chromium")
Reached = dict[str, list[float]]


def finish(folder: Path, optim: str, seed: int, reached: float, **about: Any) -> Path:
    """Leave what a run leaves that has finished; on test it reaches 0.01 less."""
    run = RunFolder(folder / optim.replace("=", "-").replace(" ", "-") / str(seed))
    (run.path / CONFIG).touch()
    lines = [{"step": s, GOAL.name: reached * s / 20, "seconds": s / 10} for s in (0, 10, 20)]
    (run.path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    final = {"step": 20, GOAL.name: reached, "test_accuracy": reached - 0.01}
    words = (*tuple(f"optim={optim}".split(" ")), f"seed={seed}")
    held = {"identity": optim, "task": "digits", "goal": GOAL, "final": final, "best": final}
    held |= {"status": "finished", "epoch": 10, "seed": seed, "overrides": words}
    run.write_summary(Summary(**(held | about)))
    return run.path


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """Hold a sweep of three contenders over four seeds."""
    for optim, reached in {"lion": 0.9, "muon": 0.95, "adam optim.lr_scale=3": 0.7}.items():
        for seed in range(4):
            noise = seed * ord(optim[0]) % 5 / 2000
            finish(tmp_path / "sweep", optim, seed, reached + noise)
    return tmp_path / "sweep"


def verdict_of(folder: Path) -> Verdict:
    (problem,) = problems_in([folder])
    return Verdict(problem)


class TestVerdict:
    def test_the_leader_is_the_best_on_valid_and_is_judged_on_test(self, swept: Path):
        verdict = verdict_of(swept)
        assert [one.name for one in verdict.ranked] == ["muon", "lion", "adam optim.lr_scale=3"]
        held = verdict.figures["muon"]
        low, high = interval(held)
        assert verdict.sentence.startswith(
            f"muon reaches test_accuracy {mean(held):.4g} (95 % interval {low:.4g} to {high:.4g}) "
            "over 4 seeds: +0.05"
        )
        assert "more than chance; it differs from 2 of 2 by more than chance." in verdict.sentence
        assert verdict.finding
        assert verdict.finding.beyond["lion"] == differences(verdict.figures, "muon")[0]

    def test_a_contender_that_lacks_a_seed_is_said_and_not_compared(self, swept: Path):
        for seed in (2, 3):
            shutil.rmtree(swept / "lion" / str(seed))
        verdict = verdict_of(swept)
        assert [*verdict.figures] == ["muon", "adam optim.lr_scale=3"]
        assert [one.name for one in verdict.ranked][-1:] == ["lion"]
        assert any(said.startswith("1 contender has not finished") for said in verdict.caveats)

    def test_seeds_of_one_contender_alone_leave_the_others_in(self, tmp_path: Path):
        for seed in range(5):
            finish(tmp_path, "lion", seed, 0.9)
            for optim in ("muon", "adam") if seed < 3 else ():
                finish(tmp_path, optim, seed, 0.95 if optim == "muon" else 0.5)
        verdict = verdict_of(tmp_path)
        assert verdict.comparison.seeds == [0, 1, 2]
        assert [*verdict.figures] == ["muon", "lion", "adam"]

    def test_runs_of_the_same_settings_and_seed_count_once(self, swept: Path, tmp_path: Path):
        for seed in range(4):
            finish(tmp_path / "again", "muon", seed, 0.1)
        (problem,) = problems_in([swept, tmp_path / "again"])
        verdict = Verdict(problem)
        assert verdict.ranked[0].name == "muon"
        assert any(said.startswith("4 runs are left out") for said in verdict.caveats)

    def test_a_run_that_failed_before_it_knew_what_it_is_is_of_its_contender(self, swept: Path):
        run = RunFolder(swept / "lion" / "9")
        words = ("optim=lion", "seed=9")
        run.write_summary(Summary("failed", 9, words, error="it was refused"))
        (lion,) = (one for one in verdict_of(swept).ranked if one.name == "lion")
        assert len(lion.runs) == 5

    def test_names_that_look_alike_are_told_apart(self, tmp_path: Path):
        for name in ("a\u2028", "a\u2029"):
            finish(tmp_path, name, 0, 0.5)
        assert len({one.name for one in verdict_of(tmp_path).ranked}) == 2

    def test_goals_and_models_make_problems(self, tmp_path: Path):
        loss = Metric("valid_loss", "min")
        for seed in range(2):
            for model in ("mlp", "vit"):
                for optim in ("lion", "muon"):
                    finish(tmp_path / model, f"{optim} model={model}", seed, 0.5)
            final = {"step": 20, "valid_loss": 1.0}
            finish(tmp_path / "other", "lion task.goal=loss", seed, 0.5, goal=loss, final=final)
        names = {problem.name for problem in problems_in([tmp_path])}
        assert names == {
            "digits model=mlp",
            "digits model=vit",
            "digits task.goal=loss",
        }

    def test_models_alone_are_contenders(self, tmp_path: Path):
        for model in ("mlp", "vit"):
            finish(tmp_path / model, f"lion model={model}", 0, 0.5)
        assert {one.name for one in verdict_of(tmp_path).ranked} == {"model=mlp", "model=vit"}

    def test_one_seed_shows_no_chance(self, tmp_path: Path):
        finish(tmp_path, "lion", 0, 0.9)
        finish(tmp_path, "muon", 0, 0.95)
        assert "one seed does not show" in verdict_of(tmp_path).sentence

    def test_one_contender(self, tmp_path: Path):
        finish(tmp_path, "lion", 0, 0.9)
        assert verdict_of(tmp_path).sentence.endswith("there is no other to compare it with.")

    def test_nothing_finished(self, tmp_path: Path):
        run = RunFolder(tmp_path / "one")
        run.write_summary(Summary("failed", 0, ("optim=lion",), error="it diverged"))
        assert "nothing to compare" in verdict_of(tmp_path).sentence
        page = write([tmp_path], tmp_path).read_text()
        assert "it diverged" in page
        assert "1 run: 1 failed" in page

    def test_a_comparison(self, cli: Any, capsys: Any, tmp_path: Path):
        from experiments.compare import compare

        command = ["optim=toy_adam,lion", "task=himmelblau", "trainer.steps=30", "pictures=false"]
        folder = tmp_path / "study"
        assert compare([*command, f"folder={folder}", "trials=2", "seeds=2", "target=5"]) == 0
        assert f"report: {folder.name}/report.html" in capsys.readouterr().out
        verdict = verdict_of(folder)
        assert {one.name for one in verdict.ranked} == {"toy_adam", "lion"}
        assert all(len(one.tuned) == len(one.runs) == 2 for one in verdict.ranked)
        assert all("optim.lr_scale" in one.set for one in verdict.ranked)
        assert verdict.problem.study
        assert verdict.problem.study.targets == {"": 5}
        assert not any("flatters" in said for said in verdict.caveats)
        page = (folder / "report.html").read_text()
        assert "python -m experiments.compare optim=toy_adam,lion" in page

    def test_a_comparison_that_is_still_tuning(self, swept: Path):
        Study(("seed=0",), ("optim",), "python -m experiments.compare").keep(swept)
        assert verdict_of(swept).ranked[0].name == "muon"

    def test_a_contender_whose_trials_all_failed_is_there(self, swept: Path, tmp_path: Path):
        place = tmp_path / "study"
        for optim in ("lion", "muon"):
            status = {"muon": "failed"}.get(optim, "finished")
            finish(
                place / "trials", f"{optim} optim.lr_scale=3", 0, 0.9, status=status, error="nan"
            )
        for seed in (1, 2):
            finish(place / "final", "lion optim.lr_scale=3", seed, 0.9)
        chosen = [["optim=lion", "optim.lr_scale=3"]]
        Study((), ("optim",), "python -m experiments.compare", chosen, {"": 0.5}).keep(place)
        (problem,) = problems_in([place])
        assert {one.name for one in problem.contenders} == {"lion", "muon"}
        assert (len(problem.ranked[0].runs), problem.target) == (2, 0.5)
        assert "nan" in write([place], place).read_text()

    def test_comparisons_below_a_folder_are_comparisons(self, tmp_path: Path):
        for target, name in enumerate(("first", "second"), 1):
            place = tmp_path / name
            finish(place / "trials", "lion optim.lr_scale=3", 0, 0.9)
            finish(place / "final", "lion optim.lr_scale=3", 1, 0.9)
            chosen = [["optim=lion", "optim.lr_scale=3"]]
            Study((), ("optim",), "compare", chosen, {"": target / 10}).keep(place)
        found = {one.name: one.target for one in problems_in([tmp_path])}
        assert found == {"digits (first)": 0.1, "digits (second)": 0.2}

    def test_one_of_an_older_version(self, swept: Path):
        (swept / "study.yaml").write_text("[task=digits]")
        with pytest.raises(Refused, match="holds a comparison of an older version"):
            problems_in([swept])

    def test_what_was_chosen_before_is_no_contender(self, cli: Any, tmp_path: Path):
        """More trials may choose another, and the runs of the first choice stay."""
        from experiments.compare import compare

        command = ["optim=toy_adam,lion", "task=himmelblau", "trainer.steps=30", "report=false"]
        command += [f"folder={tmp_path / 'study'}", "pictures=false", "seeds=2"]
        assert compare([*command, "trials=1"]) == compare([*command, "trials=6"]) == 0
        assert all(len(one.runs) == 2 for one in verdict_of(tmp_path / "study").ranked)
        assert not (tmp_path / "study" / "report.html").exists()


class TestWhatIsWritten:
    def test_tables_hold_what_the_runs_reached(self, swept: Path):
        write([swept], swept)
        runs = pd.read_parquet(swept / "report" / "runs.parquet")
        assert len(runs) == 12
        own: Any = runs[runs.contender == "muon"]
        assert sorted(own.test_accuracy) == sorted(verdict_of(swept).figures["muon"])
        again = pd.read_csv(swept / "report" / "runs.csv")
        assert again.valid_accuracy.tolist() == runs.valid_accuracy.tolist()
        assert len(pd.read_parquet(swept / "report" / "curves.parquet")) == 36

    def test_runs_that_are_not_finished_are_there_with_reason_log_and_command(self, swept: Path):
        failed = finish(swept, "adam", 7, 0.5, status="failed", error="the loss is nan")
        (failed / TRACEBACK).write_text("Traceback: somewhere")
        killed = finish(swept, "adam", 8, 0.5, status="running")
        (finish(swept, "adam", 9, 0.5) / "summary.json").write_text('{"version": 0}')
        (killed / METRICS).write_text('{"step": 0, "valid_acc')  # a kill left it half
        page = write([swept], swept).read_text()
        for said in (
            "the loss is nan",
            "Traceback: somewhere",
            "killed",
            "is a summary of version",
        ):
            assert said in page
        assert "15 runs: 12 finished, 2 failed, 1 killed" in page
        assert "python -m experiments optim=adam seed=7" in page

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            (METRICS, '{"step": 0, "valid_acc'),
            (METRICS, '{"step": 0, "valid_accuracy": null, "seconds": 0}\n'),
            (EVALUATIONS, '{"weights": "last"}\n'),
            ("telemetry.jsonl", "nothing\n"),
            ("trajectories.npz", "nothing"),
        ],
    )
    def test_a_file_that_is_not_whole_costs_no_more_than_itself(
        self, swept: Path, name: str, text: str
    ):
        (swept / "muon" / "0" / name).write_text(text)
        page = write([swept], swept).read_text()
        assert "muon reaches test_accuracy" in page
        assert (f"its {name} cannot be read" in page) == ("null" not in text)

    @pytest.mark.parametrize(
        "about",
        [
            {"goal": None},
            {"final": {"step": 20, GOAL.name: float("nan")}},
            {"final": {"step": 20, GOAL.name: 0.9}},
            {"final": {}},
        ],
    )
    def test_figures_that_are_missing(self, swept: Path, about: dict[str, Any]):
        path = finish(swept, "muon", 1, 0.9)
        held = json.loads((path / "summary.json").read_text())
        (path / "summary.json").write_text(json.dumps(held | about))
        assert "reaches" in write([swept], swept).read_text()

    def test_what_is_there_no_more_leaves_no_file(self, swept: Path):
        judge(swept / "muon" / "0", 0.8)
        write([swept], swept)
        (swept / "muon" / "0" / EVALUATIONS).unlink()
        write([swept], swept)
        assert not [*(swept / "report").glob("conditions.*")]

    def test_corruptions_are_compared_where_they_are_the_same(self, swept: Path):
        """A run that lacks some of them has no mean; clean images are as many as corrupted."""
        for optim in ("lion", "muon"):
            for seed in range(4):
                judge(swept / optim / str(seed), 0.8 + seed * len(optim) % 3 / 500)
        for seed in range(4):
            judge(swept / "adam-optim.lr_scale-3" / str(seed), 0.99, only=("clean", "snow"))
            file = swept / "muon" / str(seed) / EVALUATIONS
            many = [json.loads(line) for line in file.read_text().splitlines()][:1]
            text = "".join(
                json.dumps(row | {"count": 99, "metrics": {"accuracy": 0.1}}) for row in many
            )
            file.write_text(text + "\n" + file.read_text())
        page = write([swept], swept).read_text()
        assert "less that on clean images: -0.05 (" in page
        assert not re.search(r"corruptions[^<]*against adam", page)

    @pytest.mark.parametrize("only", [("clean", "fog"), ("clean", "pgd"), ("fog",), ("pgd",)])
    def test_attacks_or_corruptions_alone(self, swept: Path, only: tuple[str, ...]):
        for optim in ("lion", "muon"):
            for seed in range(4):
                judge(swept / optim / str(seed), 0.8 + seed / 500, only=only)
        assert "over 4 seeds" in write([swept], swept).read_text()

    def test_only_best_weights_or_only_clean_images(self, swept: Path):
        judge(swept / "muon" / "0", 0.8, only=("clean",))
        assert "muon" in write([swept], swept).read_text()
        file = swept / "muon" / "0" / EVALUATIONS
        judge(swept / "muon" / "0", 0.8)
        rows = [line for line in file.read_text().splitlines() if '"best"' in line]
        file.write_text("\n".join(rows) + "\n")
        assert "<h3>Clean and robust</h3>" in write([swept], swept).read_text()

    def test_the_command_of_a_row_repeats_its_seeds(self, swept: Path):
        page = write([swept], swept).read_text()
        assert "python -m experiments -m optim=muon seed=0,1,2,3" in page

    def test_several_problems_have_a_heat_map(self, swept: Path, tmp_path: Path):
        for optim in ("lion", "muon"):
            finish(tmp_path / "other", optim, 0, 0.5, task="mnist")
        page = write([swept, tmp_path / "other"], tmp_path / "both").read_text()
        assert "Contenders and problems" in page

    def test_what_is_reached_under_conditions_is_that_of_the_last_weights(self, swept: Path):
        """Each seed has the mean over corruptions of its own, and the same under an attack."""
        for optim, best in {"muon": 0.8, "lion": 0.7}.items():
            for seed in range(4):
                judge(swept / optim / str(seed), best + seed * len(optim) % 3 / 500)
        page = write([swept], swept).read_text()
        held = pd.read_parquet(swept / "report" / "conditions.parquet")
        assert set(held.weights) == {"last", "best"}
        muon = [0.8 + seed * 4 % 3 / 500 for seed in range(4)]
        low, high = interval([one - 0.05 for one in muon])
        assert (
            f"muon reaches accuracy under all corruptions {mean(muon) - 0.05:.4g} (95 % interval "
            f"{low:.4g} to {high:.4g}) over 4 seeds: +0.1 against lion"
        ) in page
        assert f"muon reaches accuracy under pgd of 0.1 {mean(muon) - 0.3:.4g}" in page
        less = f"muon reaches accuracy under all corruptions less that on clean images: {-0.05:.4g}"
        assert less in page
        for title in ("Clean and robust", "Over epsilon", "Corruptions"):
            assert f"<h3>{title}</h3>" in page


def judge(folder: Path, clean: float, only: tuple[str, ...] = ()) -> None:
    """Leave evaluations of the last weights and, far worse, of the best."""
    conditions = [("clean", "clean", 0, 0.0), ("corruption", "fog", 3, -0.1)]
    conditions += [("corruption", "snow", 1, 0.0), ("attack", "pgd", 0.1, -0.3)]
    conditions += [("attack", "pgd", 0.2, -0.5)]
    rows = [
        {"weights": weights, "kind": kind, "name": name, "level": level, "count": 9}
        | {"average": "", "split": "test", "settings": {}}
        | {"metrics": {"accuracy": clean + lost + worse}}
        for weights, worse in {"last": 0.0, "best": -0.1}.items()
        for kind, name, level, lost in conditions
        if not only or name in only
    ]
    (folder / EVALUATIONS).write_text("".join(json.dumps(row) + "\n" for row in rows))


class TestCommand:
    def test_one_folder(self, swept: Path, capsys: Any):
        assert report([str(swept)]) == 0
        assert capsys.readouterr().out == f"saved as {swept / 'report.html'}\n"

    def test_several_folders_into_another(self, swept: Path, tmp_path: Path, capsys: Any):
        other = finish(tmp_path / "other", "lion", 9, 0.8).parent.parent
        assert report([str(swept), str(other), f"to={tmp_path / 'both'}", "target=0.8"]) == 0
        assert "The way to valid_accuracy 0.8" in (tmp_path / "both" / "report.html").read_text()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "at least one folder of runs must be given; `--help` says how"),
            (["nowhere"], "`nowhere` holds no run, with its `summary.json`"),
            (["a", "b"], "`to` must be given beside several folders, got None; `to=DIR`"),
            (["a", "target=x"], "`target` must be a number, got 'x'"),
            (["SWEPT", "target=2"], "`target` must be at most 1 for valid_accuracy, got 2.0"),
            (["a", "tarket=1"], "`tarket`: nothing reads it; `--help` says what there is"),
            (["a", "--pdf"], "`--pdf`: there is no such flag; `--help` says what there is"),
        ],
    )
    def test_refuses(self, arguments: list[str], said: str, capsys: Any, swept: Path):
        assert report([str(swept) if one == "SWEPT" else one for one in arguments]) == 2
        assert capsys.readouterr().err == f"error: {said}\n"

    def test_a_column_of_a_name_that_is_taken(self, swept: Path, monkeypatch: Any, capsys: Any):
        monkeypatch.setitem(COLUMNS, "runs", lambda runs: 1.0)
        assert report([str(swept)]) == 2
        assert "the column `runs`: the report has one of this name" in capsys.readouterr().err

    def test_a_sweep_ends_with_it(self, cli: Any):
        result = cli("-m", "task=himmelblau", "trainer.steps=20", "seed=0,1", "report=true")
        assert "report: " in result.out
        assert "2 runs: 2 finished" in (result.folder / "report.html").read_text()

    def test_or_says_what_it_needs(self, cli: Any, monkeypatch: Any):
        monkeypatch.setattr(reports, "NEEDS", ("no_such_package",))
        result = cli("-m", "task=himmelblau", "trainer.steps=20", "seed=0,1", "report=true")
        assert result.status == 0
        assert (
            "note: a report needs no_such_package: `pip install 'xformopt[report]'`" in result.out
        )

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["report=false"], "`report=false`: nothing reads it without `-m`"),
            (["-m", "report=5"], "`report` must be true or false, got 5"),
        ],
    )
    def test_the_word_is_checked(self, cli: Any, words: list[str], said: str):
        result = cli(*words)
        assert result.status == 2
        assert said in result.line


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: `apt-get install chromium`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page, of which nothing is asked of a network, and nothing is said in its console."""
    contexts, said = [], list[str]()

    def opened(path: Path, width: int = 1400, scheme: str = "light") -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda r: said.append(r.url) if r.url.startswith("http") else None)
        page.goto(path.as_uri())
        page.wait_for_selector("table.dataTable")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def expect_column(page: Any, number: int, texts: list[str]) -> None:
    from playwright.sync_api import expect

    expect(page.locator(f"table.board tbody tr td:nth-child({number})")).to_have_text(texts)


class TestInChromium:
    def test_sorting_filtering_and_copying(self, swept: Path, visit: Any):
        page = visit(write([swept], swept))
        expect_column(page, 3, ["muon", "lion", "adam"])
        page.get_by_role("columnheader", name="valid_accuracy").click()
        expect_column(page, 3, ["adam", "lion", "muon"])
        page.get_by_label("Search").fill("lio")
        expect_column(page, 3, ["lion"])
        page.get_by_role("button", name="Copy the command of lion").click()
        page.get_by_text("copied").wait_for()
        held = page.evaluate("navigator.clipboard.readText()")
        assert held == "python -m experiments -m optim=lion seed=0,1,2,3"

    def test_pictures_tell_what_is_pointed_at_and_follow_choices(self, swept: Path, visit: Any):
        page = visit(write([swept], swept))
        curves = page.locator("#problem-0-curves")
        curves.scroll_into_view_if_needed()
        curves.locator("svg").wait_for()
        said = curves.locator(".drawing[role=graphics-document]").get_attribute("aria-label")
        assert said.startswith("Learning curves.")
        curves.locator("select[name=along]").select_option("seconds")
        curves.locator(".mark-symbol.role-mark path").last.hover()
        page.locator("#vg-tooltip-element.visible").wait_for()
        assert "contender" in page.locator("#vg-tooltip-element").inner_text()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1400, 390])
    def test_is_accessible_and_fits(self, swept: Path, visit: Any, width: int, scheme: str):
        from axe_playwright_python.sync_playwright import Axe

        finish(swept, "adam", 7, 0.5, status="failed", error="the loss is nan")
        for seed, weight in enumerate((1, 2, 3)):
            key = "optim.routes.hidden.transforms.weight_decay.weight"
            finish(swept, f"lion {key}={weight}", seed, 0.5)
        page = visit(write([swept], swept), width, scheme)
        for figure in page.locator("figure.chart").all():
            figure.scroll_into_view_if_needed()
            figure.locator("svg").wait_for()
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") == width

    def test_points_of_a_toy_move(self, cli: Any, visit: Any):
        from playwright.sync_api import expect

        words = ["task=himmelblau", "trainer.steps=40", "seed=0", "optim=toy_adam,lion"]
        result = cli("-m", *words, "pictures=true", "report=true")
        page = visit(result.folder / "report.html")
        moving = page.locator("#problem-0-moving")
        moving.scroll_into_view_if_needed()
        slider = moving.locator("input[type=range]")
        slider.wait_for()
        moving.get_by_role("button", name="Play").click()
        expect(slider).not_to_have_value("59")
        moving.get_by_role("button", name="Stop").click()
        assert int(slider.input_value()) < 59

    def test_nothing_in_a_folder_becomes_markup_or_script(self, swept: Path, visit: Any):
        names = (EVIL, "{{7*7}}", "a\u2028b & <b>c</b>")
        for i, name in enumerate(names):
            for seed in range(2):
                path = finish(swept, f"x{i}", seed, 0.6, task=EVIL, model=EVIL)
                summary = json.loads((path / "summary.json").read_text())
                words = [f"optim={name}", f"seed={seed}"]
                (path / "summary.json").write_text(
                    json.dumps(summary | {"overrides": words, "identity": name})
                )
        failed = finish(swept, "bad", 0, 0.5, status="failed", error=EVIL, task=EVIL)
        (failed / TRACEBACK).write_text(EVIL)
        page = visit(write([swept], swept))
        for figure in page.locator("figure.chart").all():
            figure.scroll_into_view_if_needed()
            figure.locator("svg").wait_for()
        assert "taken" not in page.title()[:5]
        assert page.locator("main img, main b, main script:not([type])").count() == 0
        assert EVIL in page.locator("main").inner_text()
        assert "{{7*7}}" in page.locator("main").inner_text()
