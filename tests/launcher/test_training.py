"""How a network is trained: precision, pieces of batches, modes, targets, patience."""

from typing import Any

import pytest
import torch

from experiments.cli.loading import load_model
from experiments.data.digits import digits
from experiments.models.mlp import mlp
from experiments.models.resnet import resnet, resnet18
from experiments.models.vit import vit
from xformopt.refused import Refused

SHORT = ("model.width=4", "trainer.epochs=2", "trainer.checkpoint=none")
MLP = ("model=mlp", "model.hidden=[16]", *SHORT[1:])


def figures(run: Any) -> list[dict[str, float]]:
    assert run.status == 0, run.err
    return [{k: v for k, v in line.items() if k != "seconds"} for line in run.metrics]


class TestModels:
    @pytest.mark.parametrize("name", ["mlp", "resnet", "resnet18", "vit", "small_cnn", "cnn"])
    def test_trains(self, cli: Any, name: str):
        width = ("model.hidden=[8]",) if name == "mlp" else ("model.width=6",)
        run = cli(f"model={name}", *width, "trainer.steps=40", *SHORT[2:])
        assert run.metrics[-1]["valid_loss"] < run.metrics[0]["valid_loss"]

    def test_resnet18_is_the_network_of_the_paper_but_for_its_stem(self):
        net = resnet18(torch.Size((3, 32, 32)), 10)
        assert sum(p.numel() for p in net.parameters()) == 11_173_962
        assert net[:-2](torch.zeros(1, 3, 32, 32)).shape[1:] == (512, 1, 1)

    def test_stages_halve_the_sides(self):
        net = resnet(torch.Size((1, 16, 16)), 3, blocks=(1, 1, 1), width=4)
        assert net[:-3](torch.zeros(1, 1, 16, 16)).shape == (1, 16, 4, 4)

    def test_blocks_of_a_vit_start_from_weights_of_their_own(self):
        net: Any = vit(torch.Size((1, 8, 8)), 3, width=12, depth=2)
        first, second = (block.linear1.weight for block in net.blocks[:2])
        assert not torch.equal(first, second)

    def test_refuses(self):
        with pytest.raises(Refused, match="`patch` must be a divisor of both sides, 9 and 9"):
            vit(torch.Size((1, 9, 9)), 3)
        with pytest.raises(Refused, match="`heads` must be a divisor of `width`, 10, got 3"):
            vit(torch.Size((1, 8, 8)), 3, width=10)

    def test_dropout(self):
        assert any(isinstance(m, torch.nn.Dropout) for m in mlp(torch.Size((2,)), 2, dropout=0.5))
        assert not any(isinstance(m, torch.nn.Dropout) for m in mlp(torch.Size((2,)), 2))


@pytest.mark.parametrize(("task", "name"), [("digits", "small_cnn"), ("beale", "")])
def test_a_network_is_named(cli: Any, task: str, name: str):
    result = cli(f"task={task}", "trainer.steps=2")
    summary = result.read("summary.json")
    assert summary["model"] == name
    shown = f"{name}, {summary['parameters']:,} parameters"
    assert (shown in result.out) == bool(name)


class TestForeignModels:
    """A network of another package, by its name, with settings of its own."""

    TRANSFORMER = (
        "model._target_=transformers.AutoModelForImageClassification.from_config",
        "+model.config._target_=transformers.AutoConfig.for_model",
        "+model.config.model_type=vit",
        "+model.config.image_size=8",
        "+model.config.patch_size=4",
        "+model.config.num_channels=1",
        "+model.config.num_labels=10",
        "+model.config.hidden_size=32",
        "+model.config.num_hidden_layers=1",
        "+model.config.num_attention_heads=2",
        "+model.config.intermediate_size=32",
    )

    def test_trains_and_is_loaded(self, cli: Any):
        run = cli(*self.TRANSFORMER, "trainer.steps=60")
        assert run.status == 0, run.err
        assert run.metrics[-1]["valid_loss"] < run.metrics[0]["valid_loss"]
        assert run.read("summary.json")["model"] == "ViTForImageClassification"
        with pytest.raises(Refused, match=r"names `transformers\.AutoModelForImageClassifi"):
            load_model(run.folder)
        model = load_model(run.folder, trust=["transformers"])
        assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


class TestPrecision:
    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_trains_as_well(self, cli: Any, precision: str):
        full = figures(cli(*SHORT))[-1]
        half = figures(cli(*SHORT, f"trainer.precision={precision}"))[-1]
        assert half["valid_loss"] != full["valid_loss"]
        assert half["valid_loss"] == pytest.approx(full["valid_loss"], rel=0.05)

    def test_links_see_gradients_that_are_scaled_back(self, cli: Any):
        chain = ("optim/transforms=[clamp]", "optim.transforms.clamp.max=1e-3", "optim/inner=sgd")
        full, half = (cli(*SHORT, *chain, *p) for p in ((), ("trainer.precision=fp16",)))
        assert figures(half)[-1]["valid_loss"] == pytest.approx(
            figures(full)[-1]["valid_loss"], rel=1e-2
        )

    def test_is_refused_where_a_step_takes_several_gradients(self, cli: Any):
        run = cli(*SHORT, "optim/inner=lbfgs", "trainer.precision=fp16")
        assert run.status == 2
        assert "`trainer.precision` must be fp32 or bf16 under LBFGS" in run.err


class TestAccumulation:
    def test_pieces_give_the_gradient_of_the_batch(self, cli: Any):
        whole, pieces = (figures(cli(*MLP, f"trainer.accumulate={n}")) for n in (1, 5))
        for line, other in zip(whole, pieces, strict=True):
            assert line == pytest.approx(other, rel=1e-4)
        assert whole != pieces

    def test_is_refused_on_a_toy(self, cli: Any):
        run = cli("task=beale", "trainer.accumulate=2")
        assert "`trainer.accumulate` must be 1 for a task without data" in run.err


class TestEnding:
    def test_a_target_is_noted(self, cli: Any):
        run = cli(*MLP, "trainer.epochs=4", "trainer.target=0.5")
        target = run.read("summary.json")["target"]
        reached = next(line for line in run.metrics if line["valid_accuracy"] >= 0.5)
        assert target["step"] == reached["step"]
        assert run.metrics[-1]["step"] > target["step"]
        assert f"at step {target['step']}, after" in run.out

    def test_a_target_may_end_the_run(self, cli: Any):
        ends = ("trainer.target=0.5", "trainer.end_at_target=true")
        run = cli(*MLP, "trainer.epochs=9", *ends)
        summary = run.read("summary.json")
        assert summary["status"] == "finished"
        assert summary["final"]["step"] == summary["target"]["step"] == run.metrics[-1]["step"]

    def test_a_target_that_is_not_reached(self, cli: Any):
        assert cli(*MLP, "trainer.target=1.0").read("summary.json")["target"] == {"value": 1.0}

    @pytest.mark.parametrize(
        ("words", "said"),
        {
            "trainer.target=97": "at most 1 for accuracy, got 97",
            "task.goal=loss trainer.target=-1": "at least 0 for loss, got -1",
            "task=beale trainer.target=-0.1": "at least 0 for distance, got -0.1",
        }.items(),
    )
    def test_a_target_that_cannot_be(self, cli: Any, words: str, said: str):
        assert cli(*words.split()).line == f"error: `trainer.target` must be {said}"

    def test_a_run_that_ends_worse_says_so(self, cli: Any):
        first, *_, last = figures(run := cli(*MLP, "optim.inner.maximize=true"))
        ends = "; ".join(
            f"{name} is {last[name]:.4g}, and was {first[name]:.4g}"
            for name in ("valid_loss", "valid_accuracy")
        )
        assert f"the run ended worse than it began: {ends}" in run.read("summary.json")["notes"]
        assert "ended worse" not in cli(*MLP).out

    def test_patience(self, cli: Any):
        """With rates of zero nothing gets better than it was before the first step."""
        run = cli(*MLP, "trainer.epochs=9", "optim.inner.lr=0", "trainer.patience=3")
        assert len(figures(run)) == 4
        why = "`trainer.patience`, no better valid_accuracy since step 0"
        assert f"the run ended at step 63 of 189: {why}" in run.read("summary.json")["notes"]

    @pytest.mark.parametrize(
        ("setting", "said"),
        {
            "trainer.precision=fp8": "`trainer.precision` must be fp32, bf16 or fp16, got 'fp8'",
            "trainer.accumulate=65": "`trainer.accumulate` must be at most `trainer.batch_size`",
            "trainer.accumulate=0": "`trainer.accumulate` must be an int >= 1, got 0",
            "trainer.patience=0": "`trainer.patience` must be an int >= 1 or null, got 0",
            "trainer.target=high": "`trainer.target` must be a number or null, got 'high'",
            "trainer.compile=3": "`trainer.compile` must be true or false, got 3",
            "trainer.end_at_target=true": "`trainer.end_at_target` must be false without a `trai",
        }.items(),
    )
    def test_refuses(self, cli: Any, setting: str, said: str):
        run = cli(setting)
        assert run.status == 2
        assert said in run.err


class TestScheduleFree:
    INNER = ("optim.inner._target_=schedulefree.AdamWScheduleFree", "optim.inner.lr=0.01")

    def test_is_judged_and_kept_by_its_averages(self, cli: Any):
        run = cli(*MLP, *self.INNER, "trainer.checkpoint=both")
        test = digits().test
        images = test.pixels.float() / 255
        for kept, line in (("last", "final"), ("best", "best")):
            right = (
                load_model(run.folder, kept, trust=["schedulefree"])(images).argmax(1)
                == test.labels
            )
            figure = run.read("summary.json")[line]["test_accuracy"]
            assert right.float().mean().item() == pytest.approx(figure)
        assert figures(run)[-1]["valid_accuracy"] > 0.5


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_compiled_model_trains_as_it_does(cli: Any):
    plain, compiled = (figures(cli(*MLP, f"trainer.compile={c}")) for c in ("false", "true"))
    assert compiled[-1]["valid_loss"] == pytest.approx(plain[-1]["valid_loss"], rel=1e-3)
