"""Accelerate, Lightning and a plain loop train the same network to the same weights."""

import copy
from pathlib import Path
from typing import Any

import accelerate
import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

from xformopt import ParamTransformingOptimizer
from xformopt import transforms as T

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs; ours are errors in all other tests

STEPS = 12


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def data() -> DataLoader[tuple[Tensor, ...]]:
    x = torch.randn(4 * STEPS, 4, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4)


def transforming(model: nn.Module) -> ParamTransformingOptimizer:
    links = [T.momentum(decay=0.5), T.clip_norm(max_norm=0.5), T.l2_ball(radius=2.0)]
    return ParamTransformingOptimizer(
        model.named_parameters(), AdamW, lr=0.02, transforms=links, strict_ndim=False
    )


def plain(dtype: torch.dtype | None = None) -> nn.Sequential:
    model = network()
    optim = transforming(model)
    for x, y in data():
        optim.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None):
            loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optim.step()
    return model


def assert_same(a: nn.Module, b: nn.Module, tolerance: float = 0.0) -> None:
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)


def accelerated(
    model: nn.Module, folder: Path, precision: str = "no", stop: int = STEPS, resume: bool = False
) -> None:
    accelerator = accelerate.Accelerator(mixed_precision=precision, cpu=True)
    prepared, optim, batches = accelerator.prepare(model, transforming(model), data())
    if resume:
        accelerator.load_state(str(folder))
    for i, (x, y) in enumerate(batches):
        if i >= stop or (resume and i < STEPS // 2):
            continue
        optim.zero_grad()
        with accelerator.autocast():
            loss = nn.functional.mse_loss(prepared(x), y)
        accelerator.backward(loss)
        optim.step()
    accelerator.save_state(str(folder))


class TestAccelerate:
    @pytest.fixture(autouse=True)
    def _afresh(self) -> Any:
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)

    @pytest.mark.parametrize("precision", ["no", "bf16"])
    def test_the_same_weights(self, tmp_path: Path, precision: str):
        model = network()
        accelerated(model, tmp_path, precision)
        dtype = torch.bfloat16 if precision == "bf16" else None
        assert_same(model, plain(dtype), 1e-3 if dtype else 0.0)

    def test_resumed(self, tmp_path: Path):
        accelerated(network(), tmp_path, stop=STEPS // 2)
        model = network()
        accelerated(model, tmp_path, resume=True)
        assert_same(model, plain())


class Module(lightning.LightningModule):
    def __init__(self, automatic: bool) -> None:
        super().__init__()
        self.model = network()
        self.automatic_optimization = automatic

    def configure_optimizers(self) -> Any:
        return transforming(self.model)

    def on_train_start(self) -> None:
        self.found = copy.deepcopy(self.trainer.optimizers[0].state_dict())

    def training_step(self, batch: Any, index: int) -> Any:
        loss = nn.functional.mse_loss(self.model(batch[0]), batch[1])
        if self.automatic_optimization:
            return loss
        optim: Any = self.optimizers()
        optim.zero_grad()
        self.manual_backward(loss)
        optim.step()
        return None


def trainer(folder: Path, steps: int = STEPS) -> Any:
    return lightning.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


class TestLightning:
    @pytest.mark.parametrize("automatic", [True, False], ids=["automatic", "manual"])
    def test_the_same_weights(self, tmp_path: Path, automatic: bool):
        module = Module(automatic)
        trainer(tmp_path).fit(module, data())
        assert_same(module.model, plain())

    def test_resumed(self, tmp_path: Path):
        """The optimizer goes on with the state it was saved with, to the bit."""
        first = trainer(tmp_path)
        first.fit(Module(True), data())
        first.save_checkpoint(tmp_path / "last.ckpt")
        resumed = Module(True)
        trainer(tmp_path, STEPS + 1).fit(
            resumed, data(), ckpt_path=tmp_path / "last.ckpt", weights_only=False
        )
        saved = first.optimizers[0].state_dict()
        assert resumed.found["param_groups"] == saved["param_groups"]
        torch.testing.assert_close(resumed.found["state"], saved["state"], rtol=0.0, atol=0.0)
