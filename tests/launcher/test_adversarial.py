"""Training against attacks: what each way minimises, what it leaves, and what is refused."""

from typing import Any

import pytest
import torch
from torch import nn

from experiments.adversarial import overfitting
from experiments.adversarial.contract import Trained
from experiments.adversarial.fast import Fast
from experiments.adversarial.free import Free
from experiments.adversarial.madry import Madry
from experiments.adversarial.overfitting import FALL, MULTI, SINGLE, Overfitting
from experiments.adversarial.trades import Trades
from experiments.cli.groups import options
from experiments.cli.store import fill_store
from experiments.tasks.classification import Classification
from xformopt.perturbations import ATTACKS, fgsm, pgd_linf

fill_store()
SHORT = ["trainer.epochs=2", "model.width=4"]
WAYS = [name for name in options("trainer/adversarial") if name != "none"]
BUDGET = {"fgsm": [], "fast": [], "free": ["replays=3"]}


def few(way: str) -> list[str]:
    """The settings by which a way is quick."""
    default = ["queries=3" if way.startswith("square") else "steps=2"]
    return [f"trainer.adversarial.{setting}" for setting in BUDGET.get(way, default)]


def net(classes: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    body = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, classes)]
    return nn.Sequential(*body)


def batch(count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(1)
    return torch.rand(count, 1, 6, 6, generator=drawn), torch.arange(count) % 3


def trained(model: nn.Module, seed: int = 0) -> Trained:
    numbers = torch.Generator().manual_seed(seed)
    return Trained(Classification().loss, model, model, numbers)


class TestEachWay:
    def test_is_in_the_group(self):
        assert {*ATTACKS, "fast", "free", "trades"} <= {*WAYS}

    @pytest.mark.parametrize("way", WAYS)
    def test_trains_otherwise_than_without(self, cli: Any, way: str):
        plain = cli(*SHORT)
        result = cli(*SHORT, f"trainer.adversarial={way}", *few(way))
        assert result.status == 0, result.err
        one, other = (run.metrics[-1] for run in (plain, result))
        assert other["valid_loss"] != one["valid_loss"]
        assert other["loss"] > one["loss"]
        assert other["attack_seconds"] >= 0
        notes = result.read("summary.json")["notes"]
        assert any(note.startswith("`trainer.adversarial` took ") for note in notes)

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_in_half_precision(self, cli: Any, precision: str):
        """Attacks find as much as in float32, in training and at the end."""
        chosen = ["model=mlp", "eval.attacks=[pgd_linf]", "eval.epsilon=0.2", "trainer.epochs=10"]
        half, single = (
            cli(*chosen, f"trainer.precision={kind}").read("summary.json")["final"]
            for kind in (precision, "fp32")
        )
        left = [figures["test_pgd_linf_0.2_accuracy"] for figures in (half, single)]
        assert left[0] == pytest.approx(left[1], abs=0.05)
        trained = cli("model=mlp", "trainer.adversarial=trades", f"trainer.precision={precision}")
        assert trained.status == 0, trained.err

    @pytest.mark.long
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_withstands_what_it_was_trained_against(self, cli: Any, seed: int):
        """At a radius where a plainly trained network withstands nothing."""
        judged = ["eval.attacks=[pgd_linf]", "eval.epsilon=[0.1,0.2]", f"seed={seed}"]
        attack = ["trainer.adversarial=pgd_linf", "trainer.adversarial.epsilon=0.2"]
        attack += ["trainer.adversarial.steps=7"]
        plain, robust = (
            cli(*judged, *more, "trainer.epochs=20").read("summary.json")["final"]
            for more in ([], attack)
        )
        assert robust["test_pgd_linf_0.1_accuracy"] > 0.8
        assert plain["test_pgd_linf_0.2_accuracy"] < 0.2


class TestMadry:
    def test_is_the_loss_on_images_moved_while_it_evaluates(self):
        model, (images, labels) = net(), batch()
        attack = pgd_linf(epsilon=0.1, steps=3)
        found = Madry(attack).loss(trained(model), (images, labels))
        model = net()
        model.eval()
        moved = attack.ascend(model, images, labels, torch.Generator().manual_seed(0))
        model.train()
        assert torch.equal(found, nn.functional.cross_entropy(model(moved), labels))
        assert model[1].num_batches_tracked == 1

    def test_moves_images_that_are_misclassified_already(self):
        model, (images, labels) = net().eval(), batch(30)
        moved = pgd_linf(epsilon=0.1).ascend(model, images, labels, torch.Generator())
        wrong = model(images).argmax(1) != labels
        assert wrong.any()
        assert (moved - images).flatten(1).abs().amax(1).gt(0.09).all()
        before, after = (
            nn.functional.cross_entropy(model(x), labels, reduction="none") for x in (images, moved)
        )
        assert (after > before).all()

    @pytest.mark.parametrize(
        ("setting", "said"),
        [
            ({"restarts": 2}, "`restarts` must be 1 in training, where one search leaves"),
            ({"targets": 2}, "`targets` must be 0 in training"),
            ({"targeted": True}, "`targeted` must be false in training"),
            ({"seed": 1}, "`seed` must be 0 in training"),
        ],
    )
    def test_refuses_what_it_does_not_read(self, setting: dict[str, Any], said: str):
        with pytest.raises(ValueError, match=said):
            Madry(pgd_linf(**setting))


class TestFast:
    def test_makes_one_step_as_it_trains(self):
        model = net()
        Fast(epsilon=0.1).loss(trained(model), batch())
        assert model[1].num_batches_tracked == 2
        assert Fast(epsilon=0.1).attack.settings["step_size"] == pytest.approx(0.125)

    def test_overfitting_is_said(self):
        """It has set in where several steps break what one does not."""
        watched = Overfitting(fgsm(epsilon=0.1))
        watched.compare(0.5, 0.45)
        watched.compare(0.6, 0.45 * FALL + 0.01)
        assert not watched.said
        watched.compare(0.4, 0.1)
        assert not watched.said
        watched.compare(0.9, 0.1)
        assert "fell from 0.45 to 0.1, and under one it is 0.9" in watched.said

    def test_overfitting_of_a_run(self, cli: Any, monkeypatch: Any):
        """It is said when it sets in, and at the end; both accuracies are in the file."""
        falling = iter([0.1, 0.5, 0.9, 0.1])
        monkeypatch.setattr(overfitting, "_accuracy", lambda *_: next(falling))
        result = cli(*SHORT[1:], "trainer.epochs=1", "trainer.adversarial=fast")
        assert result.status == 0, result.err
        assert [(line[SINGLE], line[MULTI]) for line in result.metrics] == [(0.1, 0.5), (0.9, 0.1)]
        lines = result.out.splitlines()
        (first, *_) = [i for i, line in enumerate(lines) if "catastrophic overfitting" in line]
        assert first < next(i for i, line in enumerate(lines) if "step 21/21" in line)
        assert any("catastrophic" in note for note in result.read("summary.json")["notes"])

    def test_is_not_watched_where_nothing_is_comparable(self):
        assert Madry(ATTACKS["fw_nuclear"](steps=1)).overfitting is None
        watched = Madry(ATTACKS["pgd_l1"](steps=1)).overfitting
        assert watched is not None
        assert (watched.several.name, watched.several.epsilon) == ("pgd_l1", 12)


class TestFree:
    def test_moves_by_the_gradient_of_each_step(self):
        model, (images, labels) = net(), batch()
        free = Free(epsilon=0.1, replays=2)
        free.loss(trained(model), (images, labels)).backward()
        clean = images.clone().requires_grad_()
        nn.functional.cross_entropy(net()(clean), labels).backward()
        found = free._moved(images)
        assert clean.grad is not None
        assert torch.equal(found.detach(), 0.1 * clean.grad.sign())

    def test_takes_each_batch_so_often(self, cli: Any):
        """As many steps as without, over fewer batches."""
        free = ["trainer.adversarial=free", "trainer.adversarial.replays=3"]
        plain, replayed = cli(*SHORT), cli(*SHORT, *free)
        assert plain.metrics[-1]["step"] == replayed.metrics[-1]["step"]

    def test_smaller_batches_take_a_part(self):
        free, model = Free(epsilon=0.1), net()
        free.loss(trained(model), batch(5)).backward()
        free.loss(trained(model), batch(2)).backward()
        assert free.delta is not None
        assert len(free.delta) == 5

    @pytest.mark.parametrize(
        ("override", "said"),
        [
            ("trainer.accumulate=2", "`trainer.accumulate` must be 1 where each batch is replayed"),
            ("optim/inner=lbfgs", "`trainer.adversarial` must be one that replays no batch, under"),
        ],
    )
    def test_refuses(self, cli: Any, override: str, said: str):
        assert said in cli("trainer.adversarial=free", override).line


class TestTrades:
    def test_without_weight_is_the_clean_loss(self):
        found = Trades(epsilon=0.1, beta=0.0, steps=1).loss(trained(net()), batch())
        assert found == Classification().loss(net(), batch())

    def test_adds_how_far_answers_change(self):
        model = net().eval()
        images, labels = batch()
        clean, both = (
            Trades(epsilon=0.2, beta=beta, steps=5).loss(trained(model), (images, labels))
            for beta in (0.0, 1.0)
        )
        moved = Trades(epsilon=0.2, steps=5)._moved(trained(model), (images, labels))
        p, other = (model(x).softmax(1) for x in (images, moved))
        expected = (p * (p / other).log()).sum(1).mean()
        assert float((both - clean).detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
        assert expected > 0
        assert (moved - images).abs().max() <= 0.2 + 1e-6


class TestRefuses:
    @pytest.mark.parametrize(
        ("overrides", "said"),
        [
            (["trainer.adversarial=frei"], "`trainer/adversarial=frei`: there is no such option"),
            (
                ["trainer.adversarial=fast", "trainer.adversarial.epsilon=x"],
                "`trainer.adversarial.",
            ),
            (
                ["trainer.adversarial=free", "trainer.adversarial.replays=0"],
                "replays` must be an",
            ),
            (["trainer.adversarial=trades", "trainer.adversarial.beta=-1"], "beta` must be a fin"),
            (["trainer.adversarial=fast", "trainer.adversarial.step_size=2"], "must be at most 1"),
            (["trainer.adversarial=trades", "trainer.adversarial.step_size=x"], "a number > 0 or"),
            (
                ["trainer.adversarial=pgd_l2", "trainer.adversarial.epsilon=9"],
                "must be at most 8, ",
            ),
            (["trainer.adversarial=fast", "task=rosenbrock"], "`trainer.adversarial` must be null"),
            (["+trainer.adversarial={a:1}"], "`trainer.adversarial` must be an attack, or another"),
        ],
    )
    def test_settings(self, cli: Any, overrides: list[str], said: str):
        result = cli(*overrides)
        assert result.status == 2
        assert said in result.line, result.line
        assert not (result.folder / "metrics.jsonl").exists()


def test_a_sweep_over_ways_and_none(cli: Any):
    result = cli("-m", *SHORT, "trainer.adversarial=null,fast", "trainer.epochs=1")
    assert result.status == 0, result.err
    assert "| none " in result.out
    assert "| fast " in result.out
