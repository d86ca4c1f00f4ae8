"""The pictures of a run."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor

if TYPE_CHECKING:
    from experiments.tasks.toy import Toy

plt.switch_backend("Agg")
logging.getLogger("matplotlib").setLevel(logging.WARNING)


def draw_curves(path: Path, title: str, history: list[dict[str, Any]]) -> None:
    """Draw each metric over the steps, a panel each; losses and distances in log scale."""
    names = [name for name in history[-1] if name not in ("step", "seconds")]
    figure, axes = plt.subplots(
        1, len(names), figsize=(4 * len(names), 3.2), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[0], names, strict=True):
        points = [(line["step"], line[name]) for line in history if name in line]
        steps, values = zip(*points, strict=True)
        axis.plot(steps, values, marker="o" if len(values) < 30 else None, markersize=3)
        positive = [value for value in values if value > 0]
        if name.rpartition("_")[2] in ("loss", "distance") and positive and min(values) >= 0:
            axis.set_yscale("symlog" if min(values) == 0 else "log", **_threshold(values))
        axis.set(xlabel="step", title=name)
        axis.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _threshold(values: Sequence[float]) -> dict[str, float]:
    """Return where a scale that shows zeros turns linear: at the least value above them."""
    return {"linthresh": min(value for value in values if value > 0)} if min(values) == 0 else {}


def draw_trajectories(path: Path, toy: "Toy", trajectories: Tensor) -> None:
    """Draw the contour of a two-dimensional toy with trajectories, shape `(T, N, 2)`."""
    side = torch.linspace(toy.low, toy.high, 200)
    x, y = torch.meshgrid(side, side, indexing="xy")
    minima = toy.minima.cpu()
    with torch.no_grad():
        points = torch.stack([x.flatten(), y.flatten()], 1).to(toy.minima.device)
        values = toy.function(points).cpu().view(x.shape)
    height = (values - values.amin()).add(1e-3).log10()
    figure, axis = plt.subplots(figsize=(6, 5.4), layout="constrained")
    shades = axis.contourf(x, y, height, levels=24, cmap="Blues_r", alpha=0.8)
    figure.colorbar(shades, label="log₁₀(value - least value)")
    for start in range(trajectories.shape[1]):
        axis.plot(*trajectories[:, start].T, color="tab:orange", linewidth=0.8, alpha=0.7)
    axis.scatter(*trajectories[0].T, s=8, color="white", ec="gray", label="start", zorder=3)
    axis.scatter(*minima.T, marker="*", s=260, color="gold", ec="k", label="minimum", zorder=4)
    axis.scatter(*trajectories[-1].T, s=12, color="tab:red", label="end", zorder=5)
    axis.set(xlim=(toy.low, toy.high), ylim=(toy.low, toy.high), title=toy.name)
    axis.set(xlabel="x₁", ylabel="x₂")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
