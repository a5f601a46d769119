"""How much a video moves: a still one has perfect frame consistency, so consistency is read beside this.

The mean length of the optical flow from each frame to the next (OpenCV's DIS, medium preset, on grey pictures of 128 px
short side), as a share of the short side: 0.01 is a picture that moves by a hundredth of itself a frame. It is no
published metric. Where a picture has no texture no motion is seen, and noise is seen as some.
"""

from __future__ import annotations

import cv2
import numpy as np

from magdiff_curation.clips.masks import Image

SIDE_PX = 128
"""The short side that flow is found at."""


def motion_between(first: Image, second: Image) -> float:
    """Return the mean length of the flow from one picture to another, uint8 [H, W, 3], as a share of the short side."""
    grey = [_grey(picture) for picture in (first, second)]
    flow = np.zeros((*grey[0].shape, 2), np.float32)
    cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey[0], grey[1], flow)
    return float(np.linalg.norm(flow.astype(np.float64), axis=2).mean()) / SIDE_PX


def _grey(picture: Image) -> Image:
    height, width = picture.shape[:2]
    scale = SIDE_PX / min(height, width)
    size = (max(SIDE_PX, round(width * scale)), max(SIDE_PX, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), size, interpolation=way))
