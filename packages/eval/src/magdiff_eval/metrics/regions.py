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


def squared_errors(frame: Image, source: Image, mask: Mask) -> tuple[float, float, int, float, int]:
    """Return sums of squared errors of a frame and over how many values each is: `mean_errors` makes means of them.

    Args:
        frame, source: uint8 [H, W, 3].
        mask: bool [H, W].

    Returns:
        Inside the mask; inside, had the source's own pixels been painted in their mean colour; the number of values
        there; outside; and the number of values there.
    """
    squares = ((frame.astype(np.float64) - source) / 127.5) ** 2
    inside = source[mask].astype(np.float64) / 127.5
    flat = float(((inside - inside.mean(axis=0)) ** 2).sum()) if len(inside) else 0.0
    return float(squares[mask].sum()), flat, inside.size, float(squares[~mask].sum()), squares.size - inside.size


def mean_errors(rows: NDArray[np.float64]) -> dict[str, float]:
    """Return a video's mean squared errors, of its `squared_errors` [F, 5].

    `error-inside` and `error-outside` the mask, and `error-flat`: what an edit without any detail inside would get,
    each frame in its mean colour. Of an empty region there is none.
    """
    inside, flat, num_inside, outside, num_outside = (float(x) for x in rows.sum(axis=0))
    found = {"error-inside": inside / num_inside, "error-flat": flat / num_inside} if num_inside else {}
    return found | ({"error-outside": outside / num_outside} if num_outside else {})
