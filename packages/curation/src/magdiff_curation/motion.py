"""Motion: how much a clip moves, from optical flow between a few pairs of its frames.

DIS flow (Kroeger et al., ECCV 2016) at a small size; a pair's frames lie a fifth of a second apart, so that noise,
whose flow does not grow with the distance, weighs little. Lengths are shares of the short side per second, means over
all pixels and pairs. The camera's part is an affine fit that lets outliers be; what it leaves is the clip's own motion.

Measured: stills re-encoded (x264 crf 17 to 36) or with noise (sigma 2 to 5) 0.0002 to 0.001, one of poor 144 px
0.004; 150 toyworld clips 0.007 to 0.29; three real films 0.02 to 0.7. Zooms over stills, by 2 and 5 % a second, move
0.007 to 0.03 like real clips, but 0.001 to 0.0045 beyond the camera, where toyworld has 0.007 and the films 0.016 and
more. A subject that is small and hardly stirs looks as still as a picture. 80 ms a clip of 910x512.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Frames
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.segment import shrink_image
from magdiff_curation.trackers.flow import flow_between, grey

_SHORT_SIDE_PX = 128
_NUM_PAIRS = 8
_PAIR_SECONDS = 0.2
_FIT_ROUNDS = 5
_OUTLIER_PX = 0.5


@dataclass(frozen=True, kw_only=True)
class MotionSettings:
    """How much a clip must and may move, in short sides per second, on average over the picture."""

    min_motion: float = 0.003
    """Clips that move less are still pictures; 0 takes them."""
    min_own_motion: float = 0.0
    """Least motion beyond the camera's; 0.006 drops pans and zooms over still pictures, and flights over still land."""
    max_motion: float | None = None
    """Clips that move more are dropped; without it, none is."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How much a clip moves, in short sides per second; rounded, so that it is the same on every run."""

    mean: float
    """The flow's mean length."""
    own: float
    """The same after the camera's movement is taken away."""


def measure_motion(frames: Frames, frame_rate: float) -> Motion:
    """Return how much a clip of RGB frames, uint8 [F, H, W, 3], moves; a single frame does not."""
    step = min(max(1, round(_PAIR_SECONDS * frame_rate)), len(frames) - 1)
    if not step:
        return Motion(mean=0.0, own=0.0)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    means, owns = [], []
    for start in sorted({round(part) for part in np.linspace(0, len(frames) - 1 - step, _NUM_PAIRS)}):
        before, after = (grey(shrink_image(frames[index], _SHORT_SIDE_PX)) for index in (start, start + step))
        moves = flow_between(flow, before, after)
        unit = min(before.shape) * step / frame_rate
        means.append(np.linalg.norm(moves, axis=2).mean(dtype=np.float64) / unit)
        owns.append(np.linalg.norm(moves - _camera(moves), axis=2).mean(dtype=np.float64) / unit)
    return Motion(mean=round(float(np.mean(means)), 5), own=round(float(np.mean(owns)), 5))


def check_motion(motion: Motion, settings: MotionSettings) -> None:
    """Raise ClipRejected where a clip moves too little or too much."""
    if motion.mean < settings.min_motion:
        raise ClipRejected(
            Reason.STATIC, f"the picture moves {motion.mean:g} short sides a second, under {settings.min_motion:g}"
        )
    if motion.own < settings.min_own_motion:
        raise ClipRejected(
            Reason.STATIC,
            f"beyond the camera's movement the picture moves {motion.own:g} short sides a second, "
            f"under {settings.min_own_motion:g}",
        )
    if settings.max_motion is not None and motion.mean > settings.max_motion:
        raise ClipRejected(
            Reason.TOO_MUCH_MOTION,
            f"the picture moves {motion.mean:g} short sides a second, over {settings.max_motion:g}",
        )


def _camera(moves: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the affine part of a flow [H, W, 2] that most of the picture shares: pan, zoom and turn."""
    height, width = moves.shape[:2]
    y, x = np.indices((height, width)).reshape(2, -1)
    places = np.stack((x / width - 0.5, y / height - 0.5, np.ones_like(x, float)))
    flat = moves.reshape(-1, 2).astype(np.float64)
    weights = np.ones(len(flat))
    for _ in range(_FIT_ROUNDS):
        weighted = places * weights
        fit = np.linalg.solve(weighted @ places.T, weighted @ flat)
        far = np.square(flat - places.T @ fit).sum(axis=1)
        weights = 1 / (1 + far / _OUTLIER_PX**2)
    return (places.T @ fit).reshape(height, width, 2)
