"""First-frame masks: a box around the subject becomes a mask of it.

`Segmenter` is what curation asks for; a network that takes box prompts satisfies it, and so does
`GrabCutSegmenter`, which needs no weights. GrabCut (Rother et al., SIGGRAPH 2004) fits one colour mixture to the
box and one to a margin around it, then cuts the image where the mixtures and the edges agree. The margin is
narrow: a background mixture has five Gaussians, and they describe what touches the subject better than they
describe a whole scene. The price is that a subject coloured like its surroundings loses parts.

One call costs 0.1 to 0.3 seconds on one core: the image is worked on at a reduced size, and only the mask is
brought back to full size. The helpers below are shared with `trackers.optical_flow`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Box, Image, Mask, clip_box

_SMOOTHING_SIGMA_PX = 1.0


class Segmenter(Protocol):
    """Finds the subject of one image from a box around it."""

    name: str
    """Model and revision, for the clip's provenance."""

    def segment(self, image: Image, box: Box) -> Mask:
        """Return the subject's mask, bool [H, W], for an RGB image, uint8 [H, W, 3], and a box in pixels.

        Raises:
            ValueError: the box is degenerate or lies outside the image.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class GrabCutSettings:
    """Settings of `GrabCutSegmenter`."""

    work_short_side_px: int = 256
    """Images are segmented at this short side; smaller ones at their own size."""
    num_iterations: int = 5
    """Rounds of refitting the colour mixtures and cutting again."""
    margin: float = 0.4
    """Width of the background shown around the box, as a share of the box's width and height."""
    smallest_hole: float = 0.02
    """Holes smaller than this share of the subject's area are filled."""


@dataclass(kw_only=True)
class ColourModels:
    """The two colour mixtures of GrabCut, in OpenCV's layout, float64 [1, 65]; `grab_cut` updates them in place."""

    background: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 65)))
    foreground: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 65)))


class GrabCutSegmenter:
    """Segments by colour and edges alone; keeps the largest connected piece inside the box."""

    def __init__(self, settings: GrabCutSettings) -> None:
        self.settings = settings
        self.name = f"GrabCut, OpenCV {cv2.__version__}"

    def segment(self, image: Image, box: Box) -> Mask:
        """Return the subject's mask, bool [H, W], for an RGB image, uint8 [H, W, 3], and a box in pixels.

        The part of the box outside the image is ignored. The mask is empty where no colour in the box sets it
        apart from its margin, and it is the box where the box leaves no background to compare with.

        Raises:
            ValueError: the box has no area, is not finite, or lies outside the image.
        """
        height, width = image.shape[:2]
        x0, y0, x1, y1 = clip_box(box, width=width, height=height)
        work = shrink_image(image, self.settings.work_short_side_px)
        work_height, work_width = work.shape[:2]
        scale_x, scale_y = work_width / width, work_height / height
        inner = (
            slice(floor(y0 * scale_y), ceil(y1 * scale_y)),
            slice(floor(x0 * scale_x), ceil(x1 * scale_x)),
        )
        margin_x = ceil(self.settings.margin * (x1 - x0) * scale_x) + 2
        margin_y = ceil(self.settings.margin * (y1 - y0) * scale_y) + 2
        outer = (
            slice(max(0, inner[0].start - margin_y), inner[0].stop + margin_y),
            slice(max(0, inner[1].start - margin_x), inner[1].stop + margin_x),
        )
        labels = np.full((work_height, work_width), cv2.GC_BGD, dtype=np.uint8)
        labels[inner] = cv2.GC_PR_FGD
        subject = np.zeros((work_height, work_width), dtype=bool)
        subject[outer] = grab_cut(
            work[outer], labels[outer], ColourModels(), self.settings.num_iterations, cv2.GC_INIT_WITH_MASK
        )
        subject = fill_small_holes(_largest_component(subject), self.settings.smallest_hole)
        return enlarge_mask(subject, width=width, height=height)


def grab_cut(image: Image, labels: NDArray[np.uint8], models: ColourModels, num_iterations: int, mode: int) -> Mask:
    """Return the foreground, bool [H, W], of an image [H, W, 3] with OpenCV's GrabCut labels [H, W].

    Labels that are all foreground or all background leave nothing to fit and come back as they are.
    """
    # GC_FGD and GC_PR_FGD are the odd labels.
    foreground = (labels & 1).astype(bool)
    if foreground.all() or not foreground.any():
        return foreground
    # GrabCut starts its mixtures by k-means on OpenCV's generator, which every earlier call in the thread has
    # advanced: without this line a clip's masks depend on which clips came before it.
    cv2.setRNGSeed(0)
    cut, unused_box = np.array(labels), (0, 0, 1, 1)
    pixels = np.ascontiguousarray(image)
    cv2.grabCut(pixels, cut, unused_box, models.background, models.foreground, num_iterations, mode)
    return (cut & 1).astype(bool)


def shrink_image(image: Image, short_side_px: int) -> Image:
    """Return the image [H, W, 3] with its short side at most `short_side_px`; never enlarged."""
    height, width = image.shape[:2]
    scale = min(1.0, short_side_px / min(height, width))
    if scale == 1.0:
        return image
    size = (round(width * scale), round(height * scale))
    return cast(Image, cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def shrink_mask(mask: Mask, *, width: int, height: int) -> Mask:
    """Return the mask [H, W] at a smaller size; a pixel is set where more than half of what it covers is."""
    if mask.shape == (height, width):
        return mask
    grey = cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(grey > 127)


def enlarge_mask(mask: Mask, *, width: int, height: int) -> Mask:
    """Return the mask [H, W] at a larger size; a slight blur first keeps the outline from showing stairs."""
    if mask.shape == (height, width):
        return mask
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _SMOOTHING_SIGMA_PX)
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC) > 0.5)


def fill_small_holes(mask: Mask, smallest_hole: float) -> Mask:
    """Return the mask [H, W] without background pieces under `smallest_hole` times the mask's area."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    is_small = statistics[:, cv2.CC_STAT_AREA] < smallest_hole * np.count_nonzero(mask)
    is_small[0] = False
    return np.asarray(mask | is_small[labels])


def _largest_component(mask: Mask) -> Mask:
    num_labels, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if num_labels == 1:
        return mask
    return np.asarray(labels == 1 + np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
