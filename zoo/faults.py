"""Clips made worse, for the training of the extractor and for the measure of its distances.

Each maker returns a function of clips uint8 [..., F, H, W, 3] to clips of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from magdiff_eval.models.toyworld import FAULTS

Videos = NDArray[np.uint8]


def noisy(deviation: float, rng: np.random.Generator) -> Callable[[Videos], Videos]:
    """Return what adds Gaussian noise of that deviation, in steps of 255."""
    return lambda videos: (
        (videos + deviation * rng.standard_normal(videos.shape, np.float32)).clip(0, 255).round().astype(np.uint8)
    )


def coarse(factor: int) -> Callable[[Videos], Videos]:
    """Return what keeps one pixel, the mean, of every square of so many."""

    def worsen(videos: Videos) -> Videos:
        height, width = videos.shape[-3:-1]
        small = videos.reshape(*videos.shape[:-3], height // factor, factor, width // factor, factor, 3)
        return small.mean(axis=(-4, -2)).round().astype(np.uint8).repeat(factor, axis=-3).repeat(factor, axis=-2)

    return worsen


def blurred(times: int) -> Callable[[Videos], Videos]:
    """Return what takes the mean of 3x3 pixels that many times."""

    def worsen(videos: Videos) -> Videos:
        pixels = torch.from_numpy(videos).permute(0, 1, 4, 2, 3).flatten(0, 1).float()
        for _ in range(times):
            pixels = functional.avg_pool2d(functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        return pixels.round().byte().unflatten(0, videos.shape[:2]).permute(0, 1, 3, 4, 2).numpy()

    return worsen


def still(num_moving: int) -> Callable[[Videos], Videos]:
    """Return what lets a clip stand still after so many frames."""
    return lambda videos: videos[:, np.minimum(np.arange(videos.shape[1]), num_moving - 1)]


def spoilt(videos: Videos, rng: np.random.Generator) -> tuple[Videos, Tensor]:
    """Return clips of which a quarter have noise and a quarter squares, and how strong each is, [N, 2], 0 for none."""
    clips, strengths = videos.copy(), np.zeros((len(videos), len(FAULTS)), np.float32)
    for clip, strength in zip(clips, strengths, strict=True):
        kind = rng.uniform()
        if kind < 0.25:
            deviation = rng.uniform(0, 30)
            clip[:] = noisy(deviation, rng)(clip)
            strength[0] = deviation / 4
        elif kind < 0.5:
            factor, share = int(rng.choice([2, 4])), rng.uniform()
            clip[:] = (clip * (1 - share) + coarse(factor)(clip) * share).astype(np.uint8)
            strength[1] = factor * share
    return clips, torch.from_numpy(strengths)


WORSE = {
    "noise, deviation 5 and 20 of 255": (noisy(5, np.random.default_rng(3)), noisy(20, np.random.default_rng(4))),
    "squares of 2 and 4 px": (coarse(2), coarse(4)),
    "blur, 3x3 once and four times": (blurred(1), blurred(4)),
    "still after 6 frames and after 2": (still(6), still(2)),
}
"""A mild and a strong form of each; blur and stillness were not among what it was trained to tell."""
