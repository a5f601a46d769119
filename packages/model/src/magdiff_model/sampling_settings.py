"""How videos are sampled: what generation and editing can be told about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from magdiff_model.precision import Precision, pick_device
from magdiff_model.sampling import Solver


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How videos are sampled."""

    negative_prompt: str = ""
    """What the video must not look like: the text of guidance's other branch."""
    steps: int = 50
    """Denoising steps; dpmsolver++ and unipc need fewer than DDIM."""
    guidance_scale: float = 7.5
    """Classifier-free guidance on the text: 7.5 is the paper's; less keeps the subject's looks better."""
    image_guidance_scale: float = 1.0
    """Guidance on the subject: 1 is none, as in the paper; 1.5 brings its looks out more."""
    solver: Solver | None = None
    """None: the checkpoint's own, DDIM in the paper."""
    seed: int = 0
    """Of the noise."""
    device: str = "auto"
    """auto: the GPU where there is one."""
    precision: Precision = "auto"
    """auto: bf16 where the hardware has it."""
    frame_rate: float | None = None
    """Frames per second of the written video. None: 8 for a generated one, the source's speed for an edited one."""

    def check(self) -> None:
        """Raise ValueError for numbers that no video can be sampled with."""
        if self.steps < 1:
            raise ValueError(f"--steps is {self.steps}; it must be 1 or more")
        if self.frame_rate is not None and not 0 < self.frame_rate <= 1000:
            raise ValueError(f"--frame-rate is {self.frame_rate:g}; it must lie between 0 and 1000 frames per second")
        scales = {"guidance-scale": self.guidance_scale, "image-guidance-scale": self.image_guidance_scale}
        for name, scale in scales.items():
            if not math.isfinite(scale):
                raise ValueError(f"--{name} is {scale}; it must be a finite number, and 1 is no guidance")

    def usable_device(self) -> torch.device:
        """Return the device to sample on.

        Raises:
            ValueError: it is not here; the message says which are.
        """
        try:
            device = pick_device(self.device)
            if device.type not in ("cpu", "cuda"):
                torch.zeros(1, device=device).item()  # torch knows names of many that it has no code or no machine for
        except (RuntimeError, AssertionError, ImportError):
            raise ValueError(f"--device {self.device} is none that torch has here; give cpu, cuda or auto") from None
        gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        if device.type == "cuda" and (device.index or 0) >= len(gpus):
            found = f"only {', '.join(gpus)}" if gpus else "no GPU"
            raise ValueError(
                f"--device {self.device}: torch finds {found} here; give {'cuda, ' * bool(gpus)}cpu or auto"
            )
        return device

    def pipeline_arguments(self) -> dict[str, Any]:
        """Return these settings as the pipeline's arguments."""
        return {
            "negative_prompt": self.negative_prompt,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "image_guidance_scale": self.image_guidance_scale,
            "solver": self.solver,
            "seed": self.seed,
            "precision": self.precision,
        }
