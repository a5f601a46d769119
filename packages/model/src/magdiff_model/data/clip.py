"""What a sample takes of one clip: its caption, a window of frames, and the masks of those.

Shards of other tools need an index, and in every sample an .mp4 of a constant frame rate with a caption: .txt,
.caption, or "caption" in a .json. Without a .masks.json as curation writes it the whole frame is the subject. Nobody
knows what such videos are, and they are decoded in this process: `data.trusted_videos` says that somebody does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Frames, Masks, decode_rle, rle_runs
from magdiff_curation.clips.record import MASKS, MEMBERS, RECORD, VIDEO, ClipRecord
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.clips.video import decode_some, probe
from magdiff_curation.clips.windows import sample_stride
from magdiff_model.data.subjects import visible

if TYPE_CHECKING:
    from magdiff_model.data.samples import DataSettings


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a sample takes of a clip: F frames, the first of which shows the subject."""

    key: str
    caption: str
    numbers: NDArray[np.int64]
    """Which frames of the clip, int64 [F]."""
    frames: Frames
    """uint8 [F, H, W, 3]; with a random crop square."""
    masks: Masks | None
    """bool [F, H, W]; None: the whole frame is the subject."""


def take(reader: ShardReader, key: str, settings: DataSettings, size_px: int, rng: np.random.Generator) -> Taken:
    """Return what a sample takes of one clip: its caption, and the frames and masks of a random window.

    Raises:
        ValueError: the clip is damaged, too short, or shows its subject nowhere; the message names it and its shard.
        PermissionError: its video is of unknown origin, and `trusted_videos` is not set.
    """
    members = reader.members(key)
    if set(members) != set(MEMBERS) and not settings.trusted_videos:
        raise PermissionError(
            f"{reader.path}: sample {key} has {', '.join(sorted(members))}, so curation did not make it, and its "
            "video is of unknown origin: curate the shards' videos first (pipelines/curate.py), or, where you know "
            "where they come from, set data.trusted_videos"
        )
    try:
        caption = _caption(members, settings.caption)
        video, rles = _video(members), _rles(members)
        num_frames = probe(video).num_frames if rles is None else len(rles)
        num_starts, _ = starts_and_stride(num_frames, settings.num_frames, settings.frame_stride)
        shown = np.zeros(num_frames, bool)  # of the rest nobody asks
        shown[:num_starts] = [rles is None or in_sight(rles[start], size_px) for start in range(num_starts)]
        chosen = window(shown, settings.num_frames, settings.frame_stride, rng, settings.window_starts)
        frames = decode_some(video, chosen.tolist())
        masks = None if rles is None else np.stack([decode_rle(rles[number]) for number in chosen.tolist()])
        if masks is not None and masks.shape != frames.shape[:3]:
            raise ValueError(f"its masks {masks.shape} do not fit its frames {frames.shape}")
    except ValueError as error:
        raise ValueError(f"{reader.path}, clip {key}: {error}") from error
    if settings.crop == "random":
        place = random_square(frames, masks, size_px, rng)
        frames, masks = square(frames, place), None if masks is None else square(masks, place)
    return Taken(key=key, caption=caption, numbers=chosen, frames=frames, masks=masks)


def window(
    in_sight: NDArray[np.bool_], wanted: int, stride: int, rng: np.random.Generator, num_starts: int = 0
) -> NDArray[np.int64]:
    """Return which frames of a clip a sample takes, int64 [wanted], evenly spaced, from a random start on.

    Raises:
        ValueError: see `possible_starts`.
    """
    starts, stride = possible_starts(in_sight, wanted, stride, num_starts)
    return int(rng.choice(starts)) + stride * np.arange(wanted)


def possible_starts(
    in_sight: NDArray[np.bool_], wanted: int, stride: int, num_starts: int = 0
) -> tuple[NDArray[np.int64], int]:
    """Return the frames of a clip that a sample may start at, int64 [N], and the frames from one taken to the next.

    Args:
        in_sight: where the subject is within the framing, bool [F]; the first frame taken is one of these.
        wanted: how many frames.
        stride: frames from one to the next; less where the clip is too short for it.
        num_starts: at most so many, spread evenly over those that there are; 0: all of them.

    Raises:
        ValueError: the clip has fewer frames than are wanted, or no start shows the subject.
    """
    num_starts_by_length, stride = starts_and_stride(len(in_sight), wanted, stride)
    starts = np.flatnonzero(in_sight[:num_starts_by_length])
    if not len(starts):
        raise ValueError("its subject is outside the middle square wherever a sample can start")
    if 0 < num_starts < len(starts):
        starts = starts[((np.arange(num_starts) + 0.5) * len(starts) / num_starts).astype(int)]
    return starts, stride


def starts_and_stride(num_frames: int, wanted: int, stride: int) -> tuple[int, int]:
    """Return how many of a clip's first frames a sample may start at, by its length alone, and its stride there.

    Raises:
        ValueError: the clip has fewer frames than are wanted.
    """
    if num_frames < wanted:
        raise ValueError(f"it has {num_frames} frames, training takes {wanted}: curate with limits.min_frames")
    stride = sample_stride(num_frames, wanted, stride)
    return num_frames - stride * (wanted - 1), stride


def in_sight(rle: Mapping[str, object], size_px: int) -> bool:
    """Return whether a mask leaves something within the framing: what `visible` says, mostly by its runs alone.

    Where all surroundings of a pixel are the subject's, some pixel of the model's size is made of them alone.

    Raises:
        ValueError: it is no COCO RLE.
    """
    height, width, runs = rle_runs(rle)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    edges = np.cumsum(runs)
    starts, ends = edges[:-1:2], edges[1::2]
    columns, rows = np.divmod((starts + ends) // 2, height)
    framed = (abs(2 * columns + 1 - width) < side) & (abs(2 * rows + 1 - height) < side)
    if framed.any():
        thickest = int(np.argmax(np.where(framed, ends - starts, 0)))
        reach = 2 * -(-side // size_px) + 2
        first, last = (max(int(columns[thickest]) - reach, left), min(int(columns[thickest]) + reach + 1, left + side))
        above, below = (max(int(rows[thickest]) - reach, top), min(int(rows[thickest]) + reach, top + side - 1))
        around = np.arange(first, last) * height
        run = np.searchsorted(edges, around + above, side="right")
        if (run % 2 == 1).all() and (edges[run] > around + below).all():
            return True
    return bool(visible(decode_rle(rle)[None], size_px)[0])


def random_square(frames: Frames, masks: Masks | None, size_px: int, rng: np.random.Generator) -> int:
    """Return where along the long side a square starts that shows something of the first frame's subject.

    The middle one does, so there is one.
    """
    height, width = frames.shape[1:3]
    for place in rng.permutation(abs(height - width) + 1).tolist():
        if masks is None or (square(masks[:1], place).any() and visible(square(masks[:1], place), size_px)[0]):
            return int(place)
    raise AssertionError("a sample starts where its subject is in the middle square")


def square(pictures: NDArray[Any], place: int) -> NDArray[Any]:
    """Return the square of pictures or masks [F, H, W, ...] that starts at `place` along the long side."""
    height, width = pictures.shape[1:3]
    return pictures[:, place : place + width] if height > width else pictures[:, :, place : place + height]


def _video(members: Mapping[str, bytes]) -> bytes:
    if VIDEO not in members:
        raise ValueError(f"it has no .{VIDEO}")
    return members[VIDEO]


def _rles(members: Mapping[str, bytes]) -> list[Mapping[str, object]] | None:
    if MASKS not in members:
        return None
    rles = json.loads(members[MASKS])
    if not isinstance(rles, list) or not all(isinstance(rle, dict) for rle in rles):
        raise ValueError(f"its .{MASKS} holds other things than one COCO RLE a frame")
    return rles


def _caption(members: Mapping[str, bytes], wanted: str) -> str:
    if set(members) == set(MEMBERS):
        return str(getattr(ClipRecord.from_json(members[RECORD]), wanted))
    for name in ("txt", "caption"):
        if name in members:
            return members[name].decode(errors="replace").strip()
    record = json.loads(members.get(RECORD, b"{}"))
    for name in (wanted, "caption") if isinstance(record, dict) else ():
        if isinstance(record.get(name), str):
            return str(record[name])
    raise ValueError(f'it has no caption: a .txt or a .caption, or a {RECORD!r} member with "caption"')
