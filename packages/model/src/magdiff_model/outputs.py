"""Made videos on disk: .mp4, .gif, or a folder of PNG frames, chosen by the name, each written whole or not at all."""

from __future__ import annotations

import io
import os
import shutil
import uuid
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from magdiff_curation.clips.atomic import TEMPORARY_SUFFIX, write_atomic
from magdiff_curation.clips.masks import Frames
from magdiff_curation.clips.video import encode
from magdiff_model.sidecar import sidecar_path

PALETTE_PIXELS = 50_000
"""A GIF's palette is made from at most about this many pixels; it takes a second."""


def check_output(path: Path) -> None:
    """Raise ValueError, before anything is sampled, where a video cannot be written under this name."""
    if path.suffix not in (".mp4", ".gif", ""):
        raise ValueError(
            f"videos are written as .mp4, .gif or, to a name without a dot, as a folder of PNG frames, not {path.name}"
        )
    if path.suffix:
        if path.is_dir():
            raise ValueError(f"{path} is a folder; remove it, or write to another name")
    elif path.exists() and not (path.is_dir() and (sidecar_path(path).is_file() or not any(path.iterdir()))):
        raise ValueError(
            f"{path} is there and was not written by this command: to make a folder of PNG frames choose a new name, "
            "or one that ends in .mp4 or .gif"
        )


def write_video(path: Path, frames: Frames, frame_rate: float) -> None:
    """Write frames, uint8 [F, H, W, 3], by the name's suffix; PNG frames have no frame rate.

    Raises:
        ValueError: odd sides, which an mp4 cannot have.
    """
    if not path.suffix:
        _write_folder(path, frames)
    elif path.suffix == ".gif":
        write_atomic(path, gif(frames, frame_rate))
    else:
        try:
            write_atomic(path, encode(frames, frame_rate))
        except ValueError as error:
            raise ValueError(f"{error}; write a .gif or a folder of PNG frames") from None


def gif(frames: Frames, frame_rate: float) -> bytes:
    """Return frames, uint8 [F, H, W, 3], as a GIF that plays for ever.

    One palette of 256 colours serves all frames: palettes of their own would flicker. GIF counts hundredths of a
    second, so durations alternate where a frame is no whole number of them; browsers slow down above 50 a second.
    """
    pictures = [PillowImage.fromarray(frame) for frame in frames]
    pixels = frames.reshape(-1, 1, 3)
    palette = PillowImage.fromarray(pixels[:: 1 + len(pixels) // PALETTE_PIXELS]).quantize(256, kmeans=1)
    ends = np.round(np.arange(len(frames) + 1) * 100 / frame_rate)
    content = io.BytesIO()
    first, *others = [picture.quantize(palette=palette) for picture in pictures]
    first.save(
        content,
        "GIF",
        save_all=True,
        append_images=others,
        duration=(10 * np.diff(ends)).astype(int).tolist(),
        loop=0,
        optimize=False,
    )
    return content.getvalue()


def _write_folder(path: Path, frames: Frames) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unique = f"{os.getpid()}.{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}"
    new, old = path.with_name(f".{path.name}.{unique}"), path.with_name(f".{path.name}.old.{unique}")
    try:
        new.mkdir()
        for index, frame in enumerate(frames):
            PillowImage.fromarray(frame).save(new / f"{index:04d}.png")
        if path.exists():
            path.rename(old)
        new.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
