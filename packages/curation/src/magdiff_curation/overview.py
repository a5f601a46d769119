"""A picture of what was kept: one row a clip, a few frames with the subject's mask laid over them, and its label."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.clips.index import load_shard_list
from magdiff_curation.clips.masks import Image, Mask
from magdiff_curation.clips.record import Clip
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.clips.video import decode

OVERVIEW = "overview.png"
_TINT = np.array([255, 60, 160])


def overlay(image: Image, mask: Mask) -> Image:
    """Return the image [H, W, 3] with the mask tinted and its edge drawn."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    tinted = np.where(mask[..., None], 0.6 * image + 0.4 * _TINT, image)
    return np.where((mask & ~inner)[..., None], _TINT, tinted).astype(np.uint8)


def write_overview(output: Path, num_clips: int = 8, num_frames: int = 5, height_px: int = 120) -> Path | None:
    """Write `overview.png` of the first kept clips and return its path, or None where nothing was kept."""
    clips: list[Clip] = []
    for shard in load_shard_list(output).shards:
        for clip in ShardReader(output / shard):
            clips.append(clip)
            if len(clips) == num_clips:
                break
        if len(clips) == num_clips:
            break
    if not clips:
        return None
    rows = [_row(clip, num_frames, height_px) for clip in clips]
    sheet = PillowImage.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomic(output / OVERVIEW, buffer.getvalue())
    return output / OVERVIEW


def _row(clip: Clip, num_frames: int, height_px: int) -> PillowImage.Image:
    frames = decode(clip.video)
    chosen = np.linspace(0, len(frames) - 1, num_frames).round().astype(int)
    width_px = round(frames.shape[2] * height_px / frames.shape[1])
    row = PillowImage.new("RGB", (width_px * num_frames, height_px + 16), "white")
    for column, index in enumerate(chosen):
        picture = PillowImage.fromarray(overlay(frames[index], clip.masks[index])).resize((width_px, height_px))
        row.paste(picture, (column * width_px, 16))
    ImageDraw.Draw(row).text(
        (4, 2), f"{clip.record.label} ({clip.record.category}): {clip.record.caption}", fill="black"
    )
    return row
