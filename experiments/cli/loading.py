"""The network of a run that has ended."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import nn

from experiments.cli.rerun import check_targets
from experiments.cli.store import fill_store
from experiments.run.build import network
from xformopt.refused import Refused


def load_model(folder: str | Path, weights: str = "best", trust: Sequence[str] = ()) -> nn.Module:
    """Return the network of a run with the weights that it kept; it takes images in [0, 1].

    Args:
        folder: the run's.
        weights: `best`, `last`, or such with the name of an average, `best_ema`.
        trust: the packages that the config may name beside ours and torch's.
    """
    from safetensors.torch import load_model as load

    file = Path(folder) / f"{weights}.safetensors"
    if not file.is_file():
        kept = ", ".join(sorted(path.stem for path in Path(folder).glob("*.safetensors")))
        raise Refused("weights", f"of those that are kept, {kept or 'none'}", weights)
    fill_store(trust)
    saved: Any = OmegaConf.load(Path(folder) / "config.yaml")
    check_targets(saved, Path(folder), trust)
    model = network(saved)
    load(model, str(file))
    return model.eval()
