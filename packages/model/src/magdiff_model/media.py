"""Pictures, videos and masks as people have them on disk, into arrays.

Videos of any origin are opened by curation's limited ffmpeg child; masks are PNGs (white: the subject), a folder of
them, or a shard's `.masks.json`. Other pictures do as masks too: `read_mask` says how they are taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from magdiff_curation.clips.masks import Frames, Image, Mask, Masks, decode_rle

LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")
"""Formats, as Pillow calls them, that leave black and white near black and white only."""


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
    return _read(path)[0]


def _read(path: Path) -> tuple[Image, str, bool]:
    """Return a picture, its format as Pillow calls it, and whether anything of it is transparent."""
    try:
        with PillowImage.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            opaque = not upright.has_transparency_data or np.asarray(upright.convert("RGBA"))[..., 3].min() == 255
            return np.array(upright.convert("RGB")), picture.format or "", not opaque  # a copy that may be written to
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture that Pillow reads (PNG, JPEG, WebP, …)") from None
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture ({error}): save it again, as PNG or JPEG") from None


def read_mask(path: Path) -> Mask:
    """Return a mask, bool [H, W]: where the picture is not black.

    Of formats that lose detail, such as JPEG, whose black is not quite black: where a channel is at least half full.

    Raises:
        ValueError: not a picture, or one that is transparent in places: either its paint or its transparency could be
            meant. An alpha channel that is opaque everywhere does not matter.
    """
    pixels, kind, transparent = _read(path)
    if transparent:
        raise ValueError(
            f"{path} is transparent in places, so what is the subject in it is not clear: save it without an alpha "
            "channel, the subject white and all else black"
        )
    return np.asarray(pixels.max(axis=-1) >= (128 if kind in LOSSY else 1))


def read_masks(path: Path, chosen: Sequence[int]) -> Masks:
    """Return the masks of the chosen frames, bool [F, H, W], of a folder or a `.masks.json` as shards hold it.

    A folder has a PNG a frame in the order of their numbers, or, where there is no PNG, a JPEG. Only what is chosen is
    read; `chosen` counts from 0.

    Raises:
        ValueError: neither, empty, damaged, fewer than the frames up to the last chosen one, or masks of different
            sizes.
    """
    each: list[Callable[[], Mask]]
    if path.is_dir():
        each = [partial(read_mask, file) for file in _mask_files(path)]
    elif path.name.endswith(".json"):
        each = [partial(_decode, path, entry) for entry in _run_lengths(path)]
    else:
        raise ValueError(f"{path} is neither a folder of PNG masks nor a .masks.json")
    wanted = max(chosen) + 1
    if len(each) < wanted:
        raise ValueError(f"{path} has {len(each)} masks for {wanted} frames: one is needed for each, in order")
    masks = [each[number]() for number in chosen]
    if len({mask.shape for mask in masks}) > 1:
        sizes = sorted({f"{mask.shape[1]}x{mask.shape[0]}" for mask in masks})
        raise ValueError(f"{path} has masks of sizes {', '.join(sizes)}: need one size")
    return np.stack(masks)


def _run_lengths(path: Path) -> list[dict[str, object]]:
    """Return the run lengths of a `.masks.json`, none of them decoded yet."""
    try:
        entries = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no .masks.json as shards hold it ({error})") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path} is no .masks.json as shards hold it: that is a list with run lengths for each frame")
    return entries


def _decode(path: Path, run_lengths: dict[str, object]) -> Mask:
    try:
        return decode_rle(run_lengths)
    except ValueError as error:
        raise ValueError(f"{path} is no .masks.json as shards hold it ({error})") from None


def _mask_files(folder: Path) -> list[Path]:
    files = sorted((file for file in folder.iterdir() if not file.name.startswith(".")), key=_by_number)
    pngs = [file for file in files if file.suffix.lower() == ".png"]
    return pngs or [file for file in files if file.suffix.lower() in (".jpg", ".jpeg")]


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
