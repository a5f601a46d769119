"""The denoising loop: any of diffusers' solvers, guidance on text and subject, and windows for longer videos.

As the paper trains it, only the text is ever dropped, so both of its guidance branches see the subject:
prediction = without text + guidance_scale * (with text - without text). On top of it the subject can be guided too,
against a condition that shows none: prediction += (image_guidance_scale - 1) * (with subject - without subject): two
scales as InstructPix2Pix has, but each here against the full condition. Text guidance costs a small model its
subject's looks; image guidance gives some back.

A video longer than the model's is denoised in windows that overlap: at every step each window is predicted by itself,
and where windows meet their predictions are averaged (MultiDiffusion), the more by a window the further from its ends.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from magdiff_model.models.unet import Condition, MagDiffUNet3DConditionModel

Solver = Literal["ddim", "dpmsolver++", "unipc"]
_SOLVERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {"clip_sample": False}),
    "dpmsolver++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "unipc": (UniPCMultistepScheduler, {"solver_order": 2}),
}


@dataclass(frozen=True)
class Branch:
    """One of the conditions that guidance weighs: the prediction is the sum of weight times prediction."""

    weight: float
    condition: Condition


def guidance_branches(
    full: Condition,
    without_text: Condition | None,
    without_subject: Condition | None,
    guidance_scale: float,
    image_guidance_scale: float,
) -> list[Branch]:
    """Return what is predicted at each step; conditions that are None are not guided against."""
    against = [
        Branch(1 - scale, condition)
        for scale, condition in ((guidance_scale, without_text), (image_guidance_scale, without_subject))
        if condition is not None
    ]
    return [Branch(1 - sum(branch.weight for branch in against), full), *against]


def with_solver(scheduler: Any, solver: Solver | None) -> Any:
    """Return a scheduler for the same noise schedule and prediction, with another solver; None: as it is.

    Raises:
        ValueError: no such solver.
    """
    if solver is None:
        return scheduler
    if solver not in _SOLVERS:
        raise ValueError(f"unknown solver {solver!r}: give one of {', '.join(_SOLVERS)}")
    kind, settings = _SOLVERS[solver]
    return kind.from_config(scheduler.config, **settings)


def windows(num_frames: int, length: int) -> list[tuple[int, int]]:
    """Return the overlapping stretches (start, stop) of `length` frames that cover a video; each begins half on."""
    starts = [*range(0, num_frames - length, max(1, length // 2)), num_frames - length]
    return [(start, start + length) for start in starts]


def denoise(
    unet: MagDiffUNet3DConditionModel,
    scheduler: Any,
    latents: Tensor,
    branches: Sequence[Branch],
    num_steps: int,
    *,
    window_frames: int | None = None,
    generators: list[torch.Generator] | None = None,
    on_step: Callable[[int, Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Return clean latents, [B, 4, F, h, w].

    Args:
        unet: the denoiser.
        scheduler: a diffusers scheduler; its timesteps are set here.
        latents: unit-variance noise of that shape; the scheduler works in its dtype, the denoiser in its own.
        branches: from `guidance_branches`; conditions for all F frames, or for one window of them, which then serve
            every window.
        num_steps: denoising steps.
        window_frames: frames that the model sees at once; None: all.
        generators: one a video, for schedulers that add noise.
        on_step: called after each step with its number, its timestep and the latents; returns those to go on with.
    """
    parts = windows(latents.shape[2], window_frames or latents.shape[2])
    in_window = [list(_of_window(branches, *part, latents.shape[2])) for part in parts]
    weight = _window_weights(parts, latents)
    scheduler.set_timesteps(num_steps, device=latents.device)
    latents = latents * scheduler.init_noise_sigma
    adds_noise = generators and "generator" in inspect.signature(scheduler.step).parameters
    options = {"generator": generators} if adds_noise else {}
    for step, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(latents, timestep).to(unet.dtype)
        prediction = torch.zeros_like(latents)
        for (start, stop), window_branches, share in zip(parts, in_window, weight, strict=True):
            for branch in window_branches:
                predicted = unet(scaled[:, :, start:stop], timestep, branch.condition)
                prediction[:, :, start:stop] += branch.weight * share * predicted.to(latents)
        latents = scheduler.step(prediction, timestep, latents, return_dict=False, **options)[0]
        if on_step:
            latents = on_step(step, timestep, latents)
    return latents


def _of_window(branches: Sequence[Branch], start: int, stop: int, num_frames: int) -> Iterator[Branch]:
    for branch in branches:
        slots = 0 if branch.condition.subject is None else branch.condition.subject.shape[1]
        shown = 0 if branch.condition.image is None else branch.condition.image.tokens.shape[1]
        whole = num_frames in (slots, shown)
        yield Branch(branch.weight, branch.condition.frames(start, stop)) if whole else branch


def _window_weights(parts: Sequence[tuple[int, int]], latents: Tensor) -> list[Tensor]:
    """Return each window's share in its frames' predictions, [F', 1, 1]; the shares of a frame sum to 1."""
    if len(parts) == 1:
        return [latents.new_ones(1, 1, 1)]
    length = parts[0][1] - parts[0][0]
    slope = torch.arange(1, length + 1, device=latents.device, dtype=latents.dtype)
    triangle = torch.minimum(slope, slope.flip(0))
    total = latents.new_zeros(latents.shape[2])
    for start, stop in parts:
        total[start:stop] += triangle
    return [(triangle / total[start:stop])[:, None, None] for start, stop in parts]
