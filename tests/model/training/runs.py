"""Training runs as the tests want them: small, in this process or in others, and what is left of them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from magdiff_model.data.samples import DataSettings
from magdiff_model.training.settings import CheckpointSettings, OptimizerSettings, TrainSettings


def small(shards: Path, base: str, output: Path, **changes: object) -> TrainSettings:
    chosen = {
        "shards": (str(shards),),
        "base": base,
        "output": output,
        "steps": 4,
        "batch_size": 2,
        "workers": 0,
        "precision": "fp32",
        "tracker": "none",
        "checkpoints": CheckpointSettings(every=2),
        "log_every": 2,
        "data": DataSettings(frame_stride=2, num_frames=4),
        "optimizer": OptimizerSettings(learning_rate=1e-3),
    }
    return TrainSettings(**{**chosen, **changes})  # type: ignore[arg-type]


def command(shards: Path, base: str, output: Path, *more: object, ranks: int = 0) -> list[str]:
    """Return the training command; `ranks` of 0 is without torchrun."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks else []
    options = ["--shards", shards, "--base", base, "--output", output, "--workers", 0, "--tracker", "none"]
    options += ["--data.num-frames", 4, "--data.frame-stride", 2, *more]
    return [sys.executable, *start, "-m", "magdiff_model.train", *map(str, options)]


def run(*arguments: object, ranks: int = 0) -> str:
    """Train to the end, and return what was printed."""
    done = subprocess.run(
        command(*arguments, ranks=ranks),  # type: ignore[arg-type]
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def losses(output: Path) -> list[float]:
    found: list[float] = json.loads((output / "losses.json").read_text())
    return found


def last_checkpoint(output: Path) -> dict[str, str]:
    """Return the hash of every file of the newest checkpoint."""
    folder = max((output / "checkpoints").iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
