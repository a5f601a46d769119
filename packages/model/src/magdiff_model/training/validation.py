"""What a run shows of itself on clips that it does not train on: a loss that can be compared, and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from magdiff_model.data.batch import collate
from magdiff_model.data.samples import ClipSamples, DataSettings
from magdiff_model.training.distributed import gathered
from magdiff_model.training.trainer import Trainer


def held_out_settings(settings: DataSettings) -> DataSettings:
    """Return how held-out clips are read: with their captions, first frame's subject and masks, every time alike."""
    return dataclasses.replace(settings, prompt_drop=0.0, multi_slot=0.0, frame_masks=True)


@torch.no_grad()
def held_out_loss(trainer: Trainer, samples: ClipSamples, timesteps: Sequence[int]) -> float:
    """Return the mean loss over held-out clips and timesteps, with each clip's own fixed noise; all ranks take part."""
    ranks = trainer.ranks
    total = 0.0
    with gathered(trainer.step_loss):  # without a backward pass nothing else spreads the parameters again
        # Every rank makes as many predictions: where parameters are sharded, they need one another.
        for turn in range(-(-len(samples) // ranks.count)):
            number = turn * ranks.count + ranks.number
            counts = number < len(samples)
            encoded = trainer.encode(samples[number if counts else 0])
            for timestep in timesteps:
                at = dataclasses.replace(encoded, timesteps=torch.full_like(encoded.timesteps, timestep))
                total += counts * trainer.loss(at).item()
    (summed,) = ranks.total(total)
    return summed / (len(samples) * len(timesteps))


def sample_grid(trainer: Trainer, samples: ClipSamples) -> NDArray[np.uint8]:
    """Return held-out clips with what the model makes of them, uint8 [H, W, 3].

    Three rows a clip, its frames side by side: the source, a generation from its first frame's subject, an edit by its
    own caption. Where parameters are sharded, all ranks have to ask.
    """
    settings = trainer.settings.validation
    batch = collate([samples[number] for number in range(min(settings.samples, len(samples)))])
    assert batch.masks is not None, "held-out clips are read with their masks"
    rows = []
    for caption, frames, mask in zip(batch.captions, batch.frames.numpy(), batch.masks.numpy(), strict=True):
        rows.append(frames)
        for shown in (slice(1), slice(None)):
            if not mask[shown].any(axis=(1, 2)).all():
                rows.append(np.full_like(frames, 128))  # a frame without its subject cannot be edited
                continue
            video = trainer.sample(
                caption,
                frames[shown],
                mask[shown],
                num_inference_steps=settings.sampling_steps,
                guidance_scale=settings.guidance_scale,
                image_guidance_scale=settings.image_guidance_scale,
            )
            rows.append(video)
    grid: NDArray[np.uint8] = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    return grid
