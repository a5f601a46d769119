"""Pictures, videos and masks as people have them on disk, into arrays.

Videos of any origin are opened by curation's limited ffmpeg child; masks are PNGs (white: the subject), a folder of
them, or a shard's `.masks.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from magdiff_curation.clips.masks import Frames, Image, Mask, Masks, decode_rle


@dataclass(frozen=True, kw_only=True)
class Video:
    """The first frames of a video."""

    frames: Frames
    """uint8 [F, H, W, 3], the short side at most 512 px, as curation's is."""
    source_size: tuple[int, int]
    """The source's width and height in pixels."""
    frame_rate: float
    """Frames per second."""


def read_image(path: Path) -> Image:
    """Return a picture, uint8 [H, W, 3].

    Raises:
        ValueError: not a picture, damaged, or too large.
    """
    try:
        with PillowImage.open(path) as picture:
            return np.array(ImageOps.exif_transpose(picture).convert("RGB"))  # a copy that may be written to
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture that Pillow reads (PNG, JPEG, WebP, …)") from None
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture ({error}): save it again, as PNG or JPEG") from None


def read_mask(path: Path) -> Mask:
    """Return a mask, bool [H, W]: where the picture is not black."""
    return np.asarray(read_image(path).any(axis=-1))


def read_masks(path: Path) -> Masks:
    """Return one mask a frame, bool [F, H, W], of a folder of PNGs in order, or a `.masks.json` as shards hold it.

    Raises:
        ValueError: neither, empty, damaged, or masks of different sizes.
    """
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix.lower() == ".png" and not file.name.startswith(".")]
        masks = [read_mask(file) for file in sorted(files, key=_by_number)]
    elif path.name.endswith(".json"):
        try:
            masks = [decode_rle(rle) for rle in json.loads(path.read_bytes())]
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{path} is no .masks.json as shards hold it ({error})") from None
    else:
        raise ValueError(f"{path} is neither a folder of PNG masks nor a .masks.json")
    if not masks or len({mask.shape for mask in masks}) > 1:
        sizes = sorted({f"{mask.shape[1]}x{mask.shape[0]}" for mask in masks})
        raise ValueError(f"{path} has {len(masks)} masks of sizes {', '.join(sizes) or 'none'}: need one size")
    return np.stack(masks)


def _by_number(file: Path) -> list[tuple[int, str]]:
    """Frame 10 comes after frame 9, however many zeros their names have."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def read_video(path: Path, num_frames: int) -> Video:
    """Return the video's first frames, at most `num_frames`, in even steps of its frame rate.

    Of a video with a constant rate that is every frame, so that masks stay with theirs.

    Raises:
        ValueError: not a readable video, or the package that reads it is missing.
    """
    with vision_packages():
        from magdiff_curation.config import ClipSettings, LimitSettings
        from magdiff_curation.normalize import decode_source, displayed_size, probe_source
        from magdiff_curation.reasons import ClipRejected
    clip = ClipSettings(max_frame_rate=1000.0)
    limits = LimitSettings(max_frames=10**9)  # reading stops early
    images: list[Image] = []
    try:
        info = probe_source(path, limits)
        for image in decode_source(path, info, clip, limits):
            images.append(image)
            if len(images) == num_frames:
                break
    except ClipRejected as rejected:
        raise ValueError(f"cannot read {path}: {rejected}") from None
    if not images:
        raise ValueError(f"cannot read {path}: no frame of it decodes; encode it anew, as H.264 in mp4")
    height, width = images[0].shape[:2]
    return Video(
        frames=np.stack(images), source_size=displayed_size(info, width, height), frame_rate=float(info.frame_rate)
    )


@contextmanager
def vision_packages() -> Iterator[None]:
    """Turn a missing package, inside the block, into a ValueError that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'magdiff-curation[vision]'") from None
