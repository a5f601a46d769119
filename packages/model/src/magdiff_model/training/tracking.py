"""What a run tells while it goes on: metrics.jsonl always, sample grids as PNG, and the same to a tracker."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from magdiff_curation.clips.atomic import write_atomic

METRICS = "metrics.jsonl"


def check_tracker(tracker: str) -> None:
    """Raise ValueError where a tracker's package is missing."""
    if tracker != "none" and importlib.util.find_spec(tracker) is None:
        raise ValueError(f"tracker is {tracker!r}, which is not installed: pip install {tracker}, or --tracker none")


class Tracking:
    """Scalars and pictures of one run; what a killed run noted after `step`, where it goes on, is dropped."""

    def __init__(self, output: Path, tracker: str, step: int) -> None:
        self.path = output / METRICS
        self.pictures = output / "samples"
        kept = [line for line in _lines(self.path) if json.loads(line)["step"] <= step]
        write_atomic(self.path, "".join(kept).encode())
        self._board: Any = None
        self._wandb: Any = None
        if tracker == "tensorboard":
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(output / "tensorboard"), purge_step=step + 1)
        elif tracker == "wandb":
            import wandb

            self._wandb = wandb.init(project="magdiff", name=output.name, dir=str(output), resume="allow")

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Note numbers by name."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._board:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        if self._wandb:
            self._wandb.log(values, step=step)

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> Path:
        """Keep a picture, uint8 [H, W, 3], and return where it is."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        path = self.pictures / f"{name}-{step:08d}.png"
        Image.fromarray(pixels).save(path)
        if self._board:
            self._board.add_image(name, pixels, step, dataformats="HWC")
        if self._wandb:
            import wandb

            self._wandb.log({name: wandb.Image(pixels)}, step=step)
        return path

    def close(self) -> None:
        """Finish what is being written."""
        if self._board:
            self._board.close()
        if self._wandb:
            self._wandb.finish()


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    # A line that a kill cut short has no end.
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
