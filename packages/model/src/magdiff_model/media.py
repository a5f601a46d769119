"""Pictures, videos and masks as people have them on disk, into arrays and back.

Videos of any origin are opened by curation's limited ffmpeg child; masks are PNGs (white: the subject), a folder of
them, or a shard's `.masks.json`. Where there is only a box, curation's segmenter and tracker do the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.clips.masks import Box, Frames, Image, Mask, Masks, decode_rle
from magdiff_curation.clips.video import encode


def read_image(path: Path) -> Image:
    """Return a picture, uint8 [H, W, 3].

    Raises:
        ValueError: not a picture.
    """
    try:
        with PillowImage.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture that Pillow reads (PNG, JPEG, WebP, …)") from None


def read_mask(path: Path) -> Mask:
    """Return a mask, bool [H, W]: where the picture is not black."""
    return np.asarray(read_image(path).any(axis=-1))


def read_masks(path: Path) -> Masks:
    """Return one mask a frame, bool [F, H, W], of a folder of PNGs in order, or a `.masks.json` as shards hold it.

    Raises:
        ValueError: neither, empty, or masks of different sizes.
    """
    if path.is_dir():
        masks = [read_mask(file) for file in sorted(path.glob("*.png"))]
    elif path.name.endswith(".json"):
        masks = [decode_rle(rle) for rle in json.loads(path.read_bytes())]
    else:
        raise ValueError(f"{path} is neither a folder of PNG masks nor a .masks.json")
    if not masks or len({mask.shape for mask in masks}) > 1:
        raise ValueError(
            f"{path} has {len(masks)} masks of sizes {sorted({mask.shape for mask in masks})}: need one size"
        )
    return np.stack(masks)


def read_video(path: Path, num_frames: int) -> tuple[Frames, tuple[int, int]]:
    """Return the video's first frames, at most `num_frames`, uint8 [F, H, W, 3], and the source's width and height.

    The short side is at most 512 px, as curation's is; no frame is left out, so that masks stay with their frames.

    Raises:
        ValueError: not a readable video, or the package that reads it is missing.
    """
    try:
        from magdiff_curation.config import ClipSettings, LimitSettings
        from magdiff_curation.normalize import decode_source, probe_source
        from magdiff_curation.reasons import ClipRejected
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'magdiff-curation[vision]'") from None
    clip, limits = ClipSettings(max_frame_rate=1000.0), LimitSettings()
    images: list[Image] = []
    try:
        info = probe_source(path, limits)
        for image in decode_source(path, info, clip, limits):
            images.append(image)
            if len(images) == num_frames:
                break
    except ClipRejected as rejected:
        raise ValueError(f"cannot read {path}: {rejected}") from None
    return np.stack(images), (info.width, info.height)


def masks_from_box(frames: Frames, box: Box, on_frame: Callable[[int, int], None] | None = None) -> Masks:
    """Return one mask a frame, bool [F, H, W], of the subject inside a box (pixels) of the first frame.

    GrabCut finds it, optical flow follows it: as curation does on machines without vision weights.

    Raises:
        ValueError: nothing is found in the box, the subject is lost on the way, or a package is missing.
    """
    try:
        from magdiff_curation.segment import GrabCutSegmenter, GrabCutSettings
        from magdiff_curation.trackers.optical_flow import OpticalFlowSettings, OpticalFlowTracker
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'magdiff-curation[vision]'") from None
    first = GrabCutSegmenter(GrabCutSettings()).segment(frames[0], box)
    if not first.any():
        raise ValueError(f"no subject stands out inside box {box} of the first frame: try a tighter box, or give masks")
    if len(frames) == 1:
        return first[None]
    masks: list[Mask] = []
    for mask in OpticalFlowTracker(OpticalFlowSettings()).track(frames, first):
        if not mask.any():
            raise ValueError(
                f"the subject is lost in frame {len(masks)}: give masks, or an earlier end by --frame-stride"
            )
        masks.append(mask)
        if on_frame:
            on_frame(len(masks), len(frames))
    return np.stack(masks)


def check_output(path: Path) -> None:
    """Raise ValueError, before anything is sampled, where a video cannot be written under this name."""
    if path.suffix != ".mp4":
        raise ValueError(f"videos are written as .mp4, not {path.name}")


def write_video(path: Path, frames: Frames, frame_rate: float) -> None:
    """Write frames with even sides, uint8 [F, H, W, 3], as an mp4."""
    write_atomic(path, encode(frames, frame_rate))
