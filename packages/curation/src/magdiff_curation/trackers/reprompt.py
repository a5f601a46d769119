"""Tracking by a segmenter alone: optical flow carries the mask to the next frame, its box prompts the segmenter there.

The drawn mask counts where it agrees with the carried one; where it does not, the carried one stays, so that one bad
drawing does not lose the subject, and after a few such frames in a row it is lost. Errors do not add up, as every mask
is drawn anew. Something of the same look that passes behind the subject may be taken in; a subject that is hidden for a
while is lost, and found again at the next key frame.

A frame costs the segmenter's time and 7 ms for the flow on one core; memory does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from magdiff_curation.clips.masks import Box, Image, Mask, bounding_box, clip_box, intersection_over_union
from magdiff_curation.segment import Segmenter, enlarge_mask, shrink_image, shrink_mask
from magdiff_curation.trackers.flow import carry, grey
from magdiff_curation.vision_config import RepromptSettings


class RepromptTracker:
    """Follows a subject by optical flow and a segmenter."""

    def __init__(self, settings: RepromptSettings, segmenter: Segmenter) -> None:
        self.settings, self.segmenter = settings, segmenter
        self.name = f"DIS flow, OpenCV {cv2.__version__}, with {segmenter.name}"

    def track(self, frames: Iterable[Image], first_mask: Mask) -> Iterator[Mask]:
        """Yield exactly one mask, bool [H, W], per RGB frame, uint8 [H, W, 3]; the first is `first_mask`.

        Raises:
            ValueError: a frame's size differs from the first mask's.
        """
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        before, mask, doubtful = None, first_mask.copy(), 0
        for index, frame in enumerate(frames):
            if frame.shape[:2] != first_mask.shape:
                raise ValueError(f"frame {index} has size {frame.shape[:2]}, the first mask {first_mask.shape} [H, W]")
            now = grey(shrink_image(frame, self.settings.work_short_side_px))
            if before is not None and mask.any():
                height, width = now.shape
                carried = carry(flow, now, before, shrink_mask(mask, width=width, height=height))
                mask, agrees = self._redraw(frame, carried)
                doubtful = 0 if agrees else doubtful + 1
                if doubtful >= self.settings.patience_frames:
                    mask = np.zeros_like(mask)
            before = now
            yield mask

    def _redraw(self, frame: Image, carried_small: Mask) -> tuple[Mask, bool]:
        """Return the mask of a frame, and whether what was drawn there agrees with what was carried there."""
        height, width = frame.shape[:2]
        if np.count_nonzero(carried_small) < self.settings.smallest_area_px:
            return np.zeros((height, width), np.bool_), True
        carried = enlarge_mask(carried_small, width=width, height=height)
        box = bounding_box(carried)
        if box is None:
            return carried, True
        drawn = self.segmenter.segment(frame, self._wider(box, width=width, height=height))
        agrees = intersection_over_union(drawn, carried) >= self.settings.agreement
        return (drawn if agrees else carried), agrees

    def _wider(self, box: Box, *, width: int, height: int) -> Box:
        x0, y0, x1, y1 = box
        across, down = self.settings.margin * (x1 - x0), self.settings.margin * (y1 - y0)
        return clip_box((x0 - across, y0 - down, x1 + across, y1 + down), width=width, height=height)
