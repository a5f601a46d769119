"""Pixel errors inside a region: how well an edit kept what it should keep."""

from __future__ import annotations

import numpy as np

from magdiff_curation.clips.masks import Frames, Masks


def error_inside(video: Frames, source: Frames, masks: Masks) -> float:
    """Return the mean squared error inside the masks, pixels in [-1, 1], of two videos [F, H, W, 3].

    Raises:
        ValueError: shapes that do not fit, or masks that are empty in every frame.
    """
    if video.shape != source.shape or masks.shape != video.shape[:3]:
        raise ValueError(f"videos {video.shape} and {source.shape} and masks {masks.shape} do not fit")
    if not masks.any():
        raise ValueError("the masks are empty: there is no region to compare")
    difference = (video[masks].astype(np.float64) - source[masks]) / 127.5
    return float(np.mean(difference**2))


def mean_colour_error(source: Frames, masks: Masks) -> float:
    """Return `error_inside` of painting the subject of every frame in that frame's mean subject colour: a yardstick."""
    painted = source.astype(np.float64)
    for image, mask in zip(painted, masks, strict=True):
        if mask.any():
            image[mask] = image[mask].mean(axis=0)
    return float(np.mean(((painted[masks] - source[masks]) / 127.5) ** 2))
