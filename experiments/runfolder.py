"""What a run leaves on disk: config, metrics, summary; each valid at any moment."""

import json
import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).parent.parent


class RunFolder:
    """Writes `config.yaml`, `metrics.jsonl` and `summary.json` into a folder."""

    def __init__(self, path: Path) -> None:
        """Make the folder, without what an earlier run left in it."""
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        for name in ("metrics.jsonl", "summary.json", "curves.png", "trajectories.png"):
            (path / name).unlink(missing_ok=True)

    def write_config(self, cfg: DictConfig) -> None:
        """Save the config, resolved."""
        (self.path / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))

    def append_metrics(self, metrics: dict[str, Any]) -> None:
        """Append a whole line to `metrics.jsonl` at once, so that a kill leaves none half."""
        line = json.dumps(metrics, allow_nan=False) + "\n"
        with (self.path / "metrics.jsonl").open("ab", buffering=0) as file:
            file.write(line.encode())

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Replace `summary.json` in one move."""
        unfinished = self.path / "summary.json.part"
        unfinished.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
        os.replace(unfinished, self.path / "summary.json")


def environment(device: torch.device) -> dict[str, Any]:
    """Return what a figure depends on beside the config: device, versions, commit."""
    packages = ("xformopt", "torch", "hydra-core", "hydra-zen", "omegaconf")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "versions": {package: _version(package) for package in packages},
        "commit": _commit(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str | None:
    """Return the commit of the project, with `+changes` where files differ from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty=+changes"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
