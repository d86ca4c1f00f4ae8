"""The network of a run that has ended."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from experiments.cli.rerun import saved_config
from experiments.cli.store import fill_store
from experiments.run.anew import fill
from experiments.run.build import judged
from xformopt.refused import Refused


def load_model(folder: str | Path, weights: str = "best", trust: Sequence[str] = ()) -> nn.Module:
    """Return the network of a run with the weights that it kept; it takes images in [0, 1].

    Args:
        folder: the run's.
        weights: `best`, `last`, or such with the name of an average, `best_ema`.
        trust: the packages that the config may name beside ours and torch's.
    """
    file = Path(folder) / f"{weights}.safetensors"
    if not file.is_file():
        kept = ", ".join(sorted(path.stem for path in Path(folder).glob("*.safetensors")))
        raise Refused("weights", f"of those that are kept, {kept or 'none'}", weights)
    fill_store(trust)
    _, _, model = judged(saved_config("folder", Path(folder), trust))
    fill(model, file)
    return model.eval()
