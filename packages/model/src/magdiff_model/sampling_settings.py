"""How videos are sampled: what generation and editing can be told about it."""

from __future__ import annotations

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
        """Raise ValueError for numbers that no video can be sampled with, or a device that is not here."""
        if self.steps < 1:
            raise ValueError(f"--steps is {self.steps}; it must be 1 or more")
        if self.frame_rate is not None and not 0 < self.frame_rate <= 1000:
            raise ValueError(f"--frame-rate is {self.frame_rate:g}; it must lie between 0 and 1000 frames per second")

        try:
            device = pick_device(self.device)
        except RuntimeError:
            raise ValueError(f"--device {self.device} is none that torch knows; give cpu, cuda or auto") from None
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"--device {self.device}: torch finds no GPU here; give cpu or auto")

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
