"""Dense inverse search flow (Kroeger et al., ECCV 2016) and what it carries along; shared by the flow trackers."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Image, Mask

Grey = NDArray[np.uint8]
"""A picture's brightness, uint8 [H, W]."""


def grey(image: Image) -> Grey:
    """Return the brightness of an RGB image."""
    return cast(Grey, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def flow_between(algorithm: cv2.DISOpticalFlow, start: Grey, end: Grey) -> NDArray[np.float32]:
    """Return where every pixel of `start` is in `end`, as an offset in pixels, [H, W, 2] (x, y)."""
    # The stubs leave out None, and an array in its place would be taken as a first guess.
    return cast(NDArray[np.float32], algorithm.calc(start, end, None))  # type: ignore[call-overload]


def fetch(values: NDArray[np.float32], source: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values at the places [H, W, 2] (x, y); zero beyond the frame."""
    # The stubs leave out that the second map may be None.
    return cast(NDArray[np.float32], cv2.remap(values, source, None, cv2.INTER_LINEAR))  # type: ignore[call-overload]


def places(height: int, width: int) -> NDArray[np.float32]:
    """Return every pixel's own place, [H, W, 2] (x, y)."""
    rows, columns = np.indices((height, width), dtype=np.float32)
    return np.dstack((columns, rows))


def carry(algorithm: cv2.DISOpticalFlow, now: Grey, before: Grey, mask: Mask) -> Mask:
    """Return the mask bool [H, W] of the frame before, brought to now by the flow that leads back."""
    source = places(*now.shape) + flow_between(algorithm, now, before)
    return fetch(mask.astype(np.float32), source) > 0.5
