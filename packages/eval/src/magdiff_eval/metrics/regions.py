"""Pixel errors of an edit inside and outside the region it was to keep, pixels in [-1, 1].

Inside small is good. Outside it is how much was changed: an edit that changes nothing has none, and is none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Frames, Image, Mask, Masks


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


def squared_errors(frame: Image, source: Image, mask: Mask) -> tuple[float, int, float, int]:
    """Return a frame's sum of squared errors inside the mask, the number of values there, and both outside of it.

    Args:
        frame, source: uint8 [H, W, 3].
        mask: bool [H, W].
    """
    squares = ((frame.astype(np.float64) - source) / 127.5) ** 2
    inside = 3 * int(mask.sum())
    return float(squares[mask].sum()), inside, float(squares[~mask].sum()), squares.size - inside


def mean_errors(rows: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return a video's mean squared error inside and outside, of its `squared_errors` [F, 4]; None of an empty one."""
    sum_inside, num_inside, sum_outside, num_outside = rows.sum(axis=0)
    return (
        float(sum_inside / num_inside) if num_inside else None,
        float(sum_outside / num_outside) if num_outside else None,
    )


def mean_colour_error(source: Frames, masks: Masks) -> float:
    """Return `error_inside` of painting the subject of every frame in that frame's mean subject colour: a yardstick."""
    painted = source.astype(np.float64)
    for image, mask in zip(painted, masks, strict=True):
        if mask.any():
            image[mask] = image[mask].mean(axis=0)
    return float(np.mean(((painted[masks] - source[masks]) / 127.5) ** 2))
