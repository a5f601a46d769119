"""How fast a run goes and what it takes: the line that people watch, and the numbers behind it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from magdiff_model.alignments import alphas_by_layer
from magdiff_model.training.trainer import Trainer

_RECENT = 50  # losses that the printed mean is over


class Progress:
    """The clock of one process's steps, from `first` on."""

    def __init__(self, trainer: Trainer, first: int, steps: int, batch_size: int) -> None:
        self.trainer, self.first, self.steps, self.batch_size = trainer, first, steps, batch_size
        self.begin, self.waited = time.monotonic(), 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count what happens within as waiting for data."""
        asked = time.monotonic()
        try:
            yield
        finally:
            self.waited += time.monotonic() - asked

    def scalars(self, step: int, norm: float) -> dict[str, float]:
        """Return what is tracked after a step: losses, rates, speed, memory, alphas."""
        seconds = max(time.monotonic() - self.begin, 1e-9)
        recent = [loss for loss in self.trainer.losses[-_RECENT:] if math.isfinite(loss)]
        values = {
            "loss": sum(recent) / len(recent) if recent else math.nan,
            "gradient_norm": norm,
            "learning_rate": self.trainer.schedule.get_last_lr()[0],
            "steps_per_second": (step - self.first) / seconds,
            "clips_per_second": (step - self.first) * self.batch_size / seconds,
            "waiting_for_data": self.waited / seconds,
            "memory_gb": _memory(self.trainer.ranks.device) / 1e9,
        }
        if self.trainer.scaler.is_enabled():
            values["loss_scale"] = self.trainer.scaler.get_scale()
        for name, (alpha_text, alpha_image) in alphas_by_layer(self.trainer.unet).items():
            values |= {f"alpha_text/{name}": alpha_text, f"alpha_image/{name}": alpha_image}
        return values

    def line(self, step: int, values: dict[str, float]) -> str:
        """Return the line that is printed after a step."""
        left = (self.steps - step) / values["steps_per_second"]
        text = (
            f"step {step}/{self.steps}  loss {values['loss']:.4f}  {values['steps_per_second']:.2f} steps/s  "
            f"waiting for data {values['waiting_for_data']:.0%}  {values['memory_gb']:.1f} GB  {_duration(left)} left"
        )
        held_out = values.get("held_out_loss")
        return text if held_out is None else f"{text}  held-out loss {held_out:.4f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _memory(device: torch.device) -> int:
    """Return the most bytes so far on a GPU; what the process holds now on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
