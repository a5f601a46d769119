"""Tracking without weights: optical flow carries the mask, GrabCut redraws it in every frame.

For machines that have no GPU. Per frame, at a reduced size:

1. DIS flow (Kroeger et al., ECCV 2016) from this frame back to the one before fetches the mask to here. Flow the
   other way round tells where to believe it: what was hidden before, or is gone now, does not lead back.
2. The carried mask prompts GrabCut: its believed core is subject, the far outside is background, the rest is open.
   The colour mixtures live on from frame to frame, and stand still where flow fails.
3. A pixel that still looks as it did when it was last background is background. This is what keeps grey rocks
   out of a grey rabbit; it matters under a still camera and is harmless under a moving one.
4. Only pieces that touch the carried mask stay.

Small errors heal, as every mask is drawn anew; the limits are thin or fast limbs in colours of the background.
A 910x512 frame costs about 80 ms on one core, half of it the cut; memory does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Image, Mask
from magdiff_curation.segment import ColourModels, enlarge_mask, fill_small_holes, grab_cut, shrink_image, shrink_mask
from magdiff_curation.trackers.flow import Grey, fetch, flow_between, places
from magdiff_curation.trackers.flow import grey as grey_of


@dataclass(frozen=True, kw_only=True)
class OpticalFlowSettings:
    """Settings of `OpticalFlowTracker`. Lengths are shares of the subject's size, the square root of its area."""

    work_short_side_px: int = 256
    """Frames are tracked at this short side; smaller ones at their own size."""
    core_depth: float = 0.08
    """Pixels of the carried mask deeper than this are subject without question."""
    band_width: float = 0.18
    """Pixels farther than this from the carried mask are background without question."""
    context_width: float = 0.5
    """How much background around the band the colour mixture sees."""
    colour_tolerance: int = 12
    """Largest difference, in any of three 8-bit channels, at which a pixel counts as unchanged."""
    return_tolerance_px: float = 2.0
    """How near to its start a pixel comes back by backward and forward flow where flow is believed."""
    memory_rate: float = 0.05
    """How fast the remembered background follows slow changes of light, 0 to 1 per frame."""
    smallest_hole: float = 0.02
    """Holes smaller than this share of the subject's area are filled."""
    lost_share: float = 0.3
    """The subject is lost where less than this share of the carried mask's area is found again."""
    smallest_area_px: int = 32
    """The subject is lost below this many pixels at the reduced size."""


@dataclass(kw_only=True)
class _Track:
    """What is known after a frame, at the reduced size."""

    grey: Grey
    mask: Mask
    background: NDArray[np.float32]
    is_remembered: Mask
    models: ColourModels = field(default_factory=ColourModels)


class OpticalFlowTracker:
    """Follows a subject by optical flow and colour."""

    def __init__(self, settings: OpticalFlowSettings) -> None:
        self.settings = settings
        self.name = f"DIS flow, OpenCV {cv2.__version__}"

    def track(self, frames: Iterable[Image], first_mask: Mask) -> Iterator[Mask]:
        """Yield exactly one mask, bool [H, W], per RGB frame, uint8 [H, W, 3]; the first is `first_mask`.

        Once the subject is lost every later mask is empty: nothing is left that could tell it from another.

        Raises:
            ValueError: a frame's size differs from the first mask's.
        """
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        track: _Track | None = None
        for index, frame in enumerate(frames):
            if frame.shape[:2] != first_mask.shape:
                raise ValueError(f"frame {index} has size {frame.shape[:2]}, the first mask {first_mask.shape} [H, W]")
            work = shrink_image(frame, self.settings.work_short_side_px)
            if track is None:
                track = self._start(work, first_mask)
                yield first_mask.copy()
                continue
            if track.mask.any():
                self._advance(track, work, flow)
            yield enlarge_mask(track.mask, width=frame.shape[1], height=frame.shape[0])

    def _start(self, work: Image, first_mask: Mask) -> _Track:
        height, width = work.shape[:2]
        mask = shrink_mask(first_mask, width=width, height=height)
        background = work.astype(np.float32)
        track = _Track(grey=grey_of(work), mask=mask, background=background, is_remembered=~_dilate(mask))
        if mask.any():
            # The first mask is given, so that this cut only fits the colour mixtures to it.
            labels = np.where(mask, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
            near = self._neighbourhood(mask)
            grab_cut(work[near], labels[near], track.models, 1, cv2.GC_INIT_WITH_MASK)
        return track

    def _advance(self, track: _Track, work: Image, flow: cv2.DISOpticalFlow) -> None:
        grey = grey_of(work)
        here = places(*grey.shape)
        source = here + flow_between(flow, grey, track.grey)
        carried = fetch(track.mask.astype(np.float32), source) > 0.5
        returned = source + fetch(flow_between(flow, track.grey, grey), source)
        came_along = np.linalg.norm(returned - here, axis=2) < self.settings.return_tolerance_px
        track.grey = grey
        track.mask = self._redraw(track, work, carried, came_along)
        is_background = ~_dilate(track.mask)
        fresh = is_background & ~track.is_remembered
        track.background[fresh] = work[fresh]
        track.background[is_background] += self.settings.memory_rate * (
            work[is_background] - track.background[is_background]
        )
        track.is_remembered |= is_background

    def _redraw(self, track: _Track, work: Image, carried: Mask, came_along: Mask) -> Mask:
        settings = self.settings
        area = np.count_nonzero(carried)
        lost = np.zeros_like(carried)
        if area < settings.smallest_area_px:
            return lost
        size_px = float(np.sqrt(area))
        unchanged = np.abs(work - track.background).max(axis=2) < settings.colour_tolerance
        # Opened, because single pixels of a subject resemble what they hide by chance.
        is_background = _open(unchanged & track.is_remembered)
        labels = np.where(carried, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[came_along & (_depth(carried) > max(2.0, settings.core_depth * size_px))] = cv2.GC_FGD
        labels[_depth(~carried) > max(4.0, settings.band_width * size_px)] = cv2.GC_BGD
        labels[is_background] = cv2.GC_BGD
        near = self._neighbourhood(labels != cv2.GC_BGD)
        # Where little came along, the carried mask may lie on something else, and fitting the mixtures to it
        # would teach them that; left as they were, they still tell whether the subject is there.
        trusted = np.count_nonzero(came_along & carried) > area / 2
        mode = cv2.GC_EVAL if trusted else cv2.GC_EVAL_FREEZE_MODEL
        drawn = np.zeros_like(carried)
        drawn[near] = grab_cut(work[near], labels[near], track.models, 1, mode)
        drawn = fill_small_holes(_pieces_touching(carried, drawn), settings.smallest_hole)
        is_lost = np.count_nonzero(drawn) < max(settings.smallest_area_px, settings.lost_share * area)
        return lost if is_lost else drawn

    def _neighbourhood(self, mask: Mask) -> tuple[slice, slice]:
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        margin = int(self.settings.context_width * np.sqrt(np.count_nonzero(mask))) + 4
        return slice(max(0, y - margin), y + height + margin), slice(max(0, x - margin), x + width + margin)


def _depth(mask: Mask) -> NDArray[np.float32]:
    """Return each pixel's distance to the nearest unset one in pixels; beyond the frame, the mask goes on."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    return cast(NDArray[np.float32], cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1])


def _dilate(mask: Mask) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def _open(mask: Mask) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel).astype(bool)


def _pieces_touching(other: Mask, mask: Mask) -> Mask:
    num_labels, labels = cv2.connectedComponents(mask.astype(np.uint8))
    keep = np.bincount(labels[other], minlength=num_labels) > 0
    keep[0] = False
    return np.asarray(keep[labels])
