"""What a maker is shown of an item: the source's frames, and where in them the subject is.

The subject's masks are the layout's own where it has them, as DAVIS does. Otherwise the subject is found by its label
with curation's models; an item without a label gets one by Algorithm 1 first. Where nothing is found the mask is null
and the whole frame is the subject (Supplement D): the run counts those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_eval.layouts.frames import frame_files, sampled_frames
from magdiff_eval.layouts.item import Item
from magdiff_eval.scoring.pictures import SUFFIXES
from magdiff_model.media import read_image, read_mask, read_video

FindMasks = Callable[[Item, Frames], tuple[Masks | None, str]]
"""An item and its source's frames -> the subject's masks bool [F, H, W], or None, and why there are none."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An item's pictures."""

    frames: Frames
    """uint8 [n, H, W, 3]: one to generate from, as many as the video has to edit."""
    masks: Masks | None
    """What of them is shown and kept, bool [n, H, W]; None is the null mask."""
    null_reason: str = ""
    """Why the mask is null."""


def has_videos(item: Item) -> bool:
    """Whether an item's source is a whole video, not a picture or a folder of frames."""
    return item.task == "generate" and item.source.suffix.lower() not in SUFFIXES


def read_source(item: Item, num_frames: int) -> Frames:
    """Return the frames of an item's source that are shown, uint8 [n, H, W, 3].

    Raises:
        ValueError: they cannot be read.
    """
    if item.task == "edit":
        return np.stack([read_image(path) for path in _sampled(item, num_frames)])
    if item.source.suffix.lower() in SUFFIXES:
        return read_image(item.source)[None]
    return read_video(item.source, 1).frames[:1]


def show(item: Item, num_frames: int, find: FindMasks | None) -> Shown:
    """Return what is shown of an item.

    Args:
        item: of a listing.
        num_frames: frames of a video.
        find: finds subjects that the layout has no masks of; None: the maker takes whole frames, nothing is looked for.

    Raises:
        ValueError: pictures that cannot be read, or an edit that is to keep surroundings where there are none.
    """
    frames = read_source(item, num_frames)
    if find is None:
        return Shown(frames=frames, masks=None, null_reason="this method takes whole frames")
    if item.masks is not None:
        masks: Masks | None = np.stack([read_mask(path) for path in _own_masks(item, num_frames)])
        reason = ""
    else:
        masks, reason = find(item, frames)
    if masks is None or not masks.any():
        return Shown(frames=frames, masks=None, null_reason=reason or "the mask is empty")
    kept = masks if item.kept == "subject" else ~masks
    if not kept.any():
        raise ValueError("the subject fills every frame: there are no surroundings to keep")
    return Shown(frames=frames, masks=kept)


def _sampled(item: Item, num_frames: int) -> list[Path]:
    files = frame_files(item.source)
    return [files[index] for index in sampled_frames(len(files), num_frames)]


def _own_masks(item: Item, num_frames: int) -> list[Path]:
    assert item.masks is not None, "asked before"
    if item.task == "generate":
        return frame_files(item.masks)[:1]
    return [item.masks / f"{path.stem}.png" for path in _sampled(item, num_frames)]
