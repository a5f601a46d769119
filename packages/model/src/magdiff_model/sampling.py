"""The denoising loop: DDIM, or another of diffusers' schedulers that take a generator, with text guidance.

As the paper trains it, only the text is ever dropped, so both of its guidance branches see the subject:
prediction = without text + guidance_scale * (with text - without text). On top of it the subject can be guided too,
against a condition that shows none: prediction += (image_guidance_scale - 1) * (with subject - without subject), the
two scales of InstructPix2Pix. Text guidance costs a small model its subject's looks; image guidance gives some back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from magdiff_model.models.unet import Condition, MagDiffUNet3DConditionModel


def denoise(
    unet: MagDiffUNet3DConditionModel,
    scheduler: Any,
    latents: Tensor,
    condition: Condition,
    empty_text: Tensor,
    *,
    guidance_scale: float,
    num_steps: int,
    no_subject: Condition | None = None,
    image_guidance_scale: float = 1.0,
    generator: torch.Generator | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return clean latents, [B, 4, F, h, w].

    Args:
        unet: the denoiser.
        scheduler: a diffusers scheduler; its timesteps are set here.
        latents: unit-variance noise of that shape.
        condition: from `unet.condition`.
        empty_text: the empty prompt's tokens, [B, L, D]; not looked at where `guidance_scale` is 1.
        guidance_scale: 1 follows the condition as it is; the paper's value is 7.5.
        num_steps: denoising steps.
        no_subject: the same text with nothing shown; not looked at where `image_guidance_scale` is 1.
        image_guidance_scale: 1 follows the subject as it is.
        generator: for schedulers that add noise.
        on_step: called with (steps done, steps in all).
    """
    without = condition.with_text(empty_text)
    scheduler.set_timesteps(num_steps, device=latents.device)
    latents = latents * scheduler.init_noise_sigma
    for done, timestep in enumerate(scheduler.timesteps, start=1):
        scaled = scheduler.scale_model_input(latents, timestep)
        full = prediction = unet(scaled, timestep, condition).float()
        if guidance_scale != 1:
            prediction = prediction + (guidance_scale - 1) * (full - unet(scaled, timestep, without).float())
        if image_guidance_scale != 1:
            assert no_subject is not None, "the pipeline makes the condition that guidance needs"
            prediction = prediction + (image_guidance_scale - 1) * (full - unet(scaled, timestep, no_subject).float())
        latents = scheduler.step(prediction, timestep, latents, generator=generator, return_dict=False)[0]
        if on_step:
            on_step(done, num_steps)
    return latents
