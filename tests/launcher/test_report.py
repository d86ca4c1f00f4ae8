"""The report: what it says of runs, what it writes, and what a browser makes of it."""

import json
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
        shutil.rmtree(swept / "lion" / "3")
        verdict = verdict_of(swept)
        assert [*verdict.figures] == ["muon", "adam optim.lr_scale=3"]
        assert any(said.startswith("1 contender has not finished") for said in verdict.caveats)

    def test_one_seed_shows_no_chance(self, tmp_path: Path):
        finish(tmp_path, "lion", 0, 0.9)
        finish(tmp_path, "muon", 0, 0.95)
        assert "one seed does not show" in verdict_of(tmp_path).sentence

    def test_one_contender(self, tmp_path: Path):
        finish(tmp_path, "lion", 0, 0.9)
        assert verdict_of(tmp_path).sentence.endswith("there is no other contender.")

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


def judge(folder: Path, clean: float) -> None:
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
    ]
    (folder / EVALUATIONS).write_text("".join(json.dumps(row) + "\n" for row in rows))


class TestCommand:
    def test_one_folder(self, swept: Path, capsys: Any):
        assert report([str(swept)]) == 0
        assert capsys.readouterr().out == f"saved as {swept / 'report.html'}\n"

    def test_several_folders_into_another(self, swept: Path, tmp_path: Path, capsys: Any):
        other = finish(tmp_path / "other", "lion", 9, 0.8).parent.parent
        assert report([str(swept), str(other), f"to={tmp_path / 'both'}", "target=0.8"]) == 0
        assert "Steps until valid_accuracy 0.8" in (tmp_path / "both" / "report.html").read_text()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "at least one folder of runs must be given; `--help` says how"),
            (["nowhere"], "`nowhere` holds no run, with its `summary.json`"),
            (["a", "b"], "`to` must be given beside several folders, got None; `to=DIR`"),
            (["a", "target=x"], "`target` must be a number, got 'x'"),
            (["a", "tarket=1"], "`tarket`: nothing reads it; `--help` says what there is"),
            (["a", "--pdf"], "`--pdf`: there is no such flag; `--help` says what there is"),
        ],
    )
    def test_refuses(self, arguments: list[str], said: str, capsys: Any, tmp_path: Path):
        assert report(arguments) == 2
        assert capsys.readouterr().err == f"error: {said}\n"

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


def column(page: Any, number: int) -> list[str]:
    return page.locator(f"table.board tbody tr td:nth-child({number})").all_inner_texts()


class TestInChromium:
    def test_sorting_filtering_and_copying(self, swept: Path, visit: Any):
        page = visit(write([swept], swept))
        assert column(page, 3) == ["muon", "lion", "adam"]
        page.get_by_role("columnheader", name="valid_accuracy").click()
        assert column(page, 3) == ["adam", "lion", "muon"]
        page.get_by_label("Search").fill("lio")
        assert column(page, 3) == ["lion"]
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
        expect(slider).to_have_value("3")
        moving.get_by_role("button", name="Stop").click()

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
