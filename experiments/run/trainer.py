"""How a model is trained: how long, in batches of what size, judged how often."""

from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

from hydra_zen import store

from experiments.adversarial.contract import Adversarial
from experiments.adversarial.madry import Madry
from experiments.data.batches import Batches
from experiments.observers.weights import KEPT, Kept
from experiments.run.checkpoint import Every
from experiments.run.ranks import Strategy
from xformopt.perturbations import Attack
from xformopt.refused import Refused, check_count, under

Precision = Literal["fp32", "bf16", "fp16"]
COUNTS = ("epochs", "steps", "eval_every")
CHOICES = {
    "checkpoint": KEPT,
    "precision": get_args(Precision),
    "strategy": get_args(Strategy),
}
WITHOUT_DATA: dict[str, Any] = {
    "epochs": None,
    "batch_size": None,
    "accumulate": 1,
    "channels_last": False,
    "precision": "fp32",
    "strategy": "none",
    "adversarial": None,
}
"""What a task without data has no use for, and how it must be left."""

TOY_EVALUATIONS = 100
"""How often a run without data is judged, where nothing else is said."""


class Length(NamedTuple):
    """How many steps a run makes, and how many lie between two evaluations."""

    steps: int
    eval_every: int


@dataclass(frozen=True)
class Trainer:
    """How a model is trained.

    Args:
        epochs: how often each image is seen.
        steps: the number of steps, in place of `epochs`.
        batch_size: the number of images of a step.
        eval_every: steps between evaluations; None: an epoch, or a hundredth of a run without data.
        ema: the decay of an average of the weights, which is judged beside them; None: no average.
        checkpoint: which weights are kept as files of their own: none, last, best or both.
        checkpoint_every: steps, as 200, or seconds, as '30s', after which all that the run needs to
            go on is saved, and at the end; None: nothing is.
        precision: what the model computes in: fp32, bf16, or fp16 with scaled gradients.
        channels_last: whether images lie so in memory, by which convolutions are faster; on a CPU,
            torch 2.13 may crash under it where channels are no multiple of 8.
        compile: whether the model is compiled.
        accumulate: in so many pieces is a batch taken, whose gradients are added up.
        target: a figure of the goal; when it is first reached is noted.
        strategy: none; or how several processes train one network: ddp, each has it whole, or
            fsdp, each has a share of its parameters.
        end_at_target: whether the run ends there.
        adversarial: how it is trained against attacks: on the images that one finds, or otherwise.
        patience: the run ends after so many evaluations that are no better than the best.
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    eval_every: int | None = None
    ema: float | None = None
    checkpoint: Kept = "none"
    checkpoint_every: int | str | None = None
    precision: Precision = "fp32"
    channels_last: bool = False
    compile: bool = False
    accumulate: int = 1
    target: float | None = None
    end_at_target: bool = False
    strategy: Strategy = "none"
    adversarial: Adversarial | Attack | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for key in COUNTS:
            check_count(key, getattr(self, key), optional=True)
        check_count("accumulate", self.accumulate)
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size)
            if self.accumulate > self.batch_size:
                rule = f"at most `trainer.batch_size`, {self.batch_size}"
                raise Refused("accumulate", rule, self.accumulate)
        check_count("patience", self.patience, optional=True)
        for key, known in CHOICES.items():
            if getattr(self, key) not in known:
                rule = f"{', '.join(known[:-1])} or {known[-1]}"
                raise Refused(key, rule, getattr(self, key))
        for key in ("channels_last", "compile", "end_at_target"):
            if not isinstance(getattr(self, key), bool):
                raise Refused(key, "true or false", getattr(self, key))
        if self.checkpoint_every is not None:
            Every.of(self.checkpoint_every)
        if self.target is not None and not _is_number(self.target):
            raise Refused("target", "a number or null", self.target)
        if self.end_at_target and self.target is None:
            raise Refused("end_at_target", "false without a `trainer.target`", True)
        self._check_adversarial()
        if self.ema is not None and not (_is_number(self.ema) and 0 <= self.ema < 1):
            raise Refused("ema", "a number in [0, 1) or null", self.ema)

    def _check_adversarial(self) -> None:
        if isinstance(self.adversarial, Attack):
            with under("adversarial"):
                object.__setattr__(self, "adversarial", Madry(self.adversarial))
        if not isinstance(self.adversarial, Adversarial | None):
            raise Refused("adversarial", "an attack, or another way to train", self.adversarial)
        if self.replays > 1:
            for key in ("accumulate", "strategy"):
                if getattr(self, key) != WITHOUT_DATA[key]:
                    rule = f"{WITHOUT_DATA[key]} where each batch is replayed"
                    raise Refused(key, rule, getattr(self, key))

    @property
    def replays(self) -> int:
        """Return the number of steps that are made with a batch."""
        return self.adversarial.replays if isinstance(self.adversarial, Adversarial) else 1

    @property
    def is_resumable(self) -> bool:
        """Whether all that a run needs to go on is saved."""
        return self.checkpoint_every is not None and self.strategy != "fsdp"

    def length(self, batches: Batches | None) -> Length:
        """Return how long a run is on batches of data, or without data."""
        if batches is None:
            steps = self._without_data()
            return Length(steps, self.eval_every or max(1, steps // TOY_EVALUATIONS))
        if self.steps is None and self.epochs is None:
            raise Refused("`trainer.epochs` or `trainer.steps` must be given, got null for both")
        steps = self.steps or (self.epochs or 0) * batches.per_epoch
        return Length(steps, self.eval_every or batches.per_epoch)

    def size(self) -> int:
        """Return the size of a batch."""
        check_count("trainer.batch_size", self.batch_size)
        return self.batch_size or 0

    def _without_data(self) -> int:
        for key, without in WITHOUT_DATA.items():
            if getattr(self, key) != without:
                free = "a task without data, whose points all move at each step"
                rule = f"{'null' if without is None else without} for {free}"
                way_out = "set `trainer.steps`" if key in ("epochs", "batch_size") else ""
                raise Refused(f"trainer.{key}", rule, getattr(self, key), way_out)
        check_count("trainer.steps", self.steps)
        return self.steps or 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


ALL = {"_target_": f"{Trainer.__module__}.{Trainer.__qualname__}"} | {
    field.name: field.default for field in fields(Trainer)
}
store(ALL, group="trainer", name="_all")
store({"adversarial": None}, group="trainer/adversarial", name="none", package="trainer")
