"""What a sample takes of one clip: its caption, a window of frames, and the masks of those.

Shards of other tools need an index, and in every sample an .mp4 of a constant frame rate with a caption: .txt,
.caption, or "caption" in a .json. Without a .masks.json as curation writes it the whole frame is the subject. Nobody
knows what such videos are, and they are decoded in this process: `data.trusted_videos` says that somebody does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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

_OUT_OF_SIGHT = "its subject is outside the middle square wherever a sample can start"


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
    """bool [F, H, W], or only the first frame's where no other is needed; None: whole frames are the subject."""


class OpenClip:
    """A clip of a shard: its caption, where a sample may start, and the frames and masks of one that does.

    Whatever is wrong with it is a ValueError that names the clip and its shard.

    Raises:
        ValueError: it is damaged, or has fewer frames than a sample.
        PermissionError: its video is of unknown origin, and `trusted_videos` is not set.
    """

    def __init__(self, reader: ShardReader, key: str, settings: DataSettings, size_px: int) -> None:
        self.key, self.settings, self.size_px = key, settings, size_px
        self._named = f"{reader.path}, clip {key}"
        members = reader.members(key)
        if set(members) != set(MEMBERS) and not settings.trusted_videos:
            raise PermissionError(
                f"{reader.path}: sample {key} has {', '.join(sorted(members))}, so curation did not make it, and its "
                "video is of unknown origin: curate the shards' videos first (pipelines/curate.py), or, where you know "
                "where they come from, set data.trusted_videos"
            )
        with self._naming():
            self.caption = _caption(members, settings.caption)
            self._video, self._rles = _video(members), _rles(members)
            self.starts = starts_of(self._video, self._rles, settings, size_px)

    def few_starts(self) -> NDArray[np.int64]:
        """Return the frames that samples start at where `window_starts` says how many, int64 [N].

        Raises:
            ValueError: nowhere does the subject show.
        """
        with self._naming():
            return self.starts.shown(self.settings.window_starts)

    def draw(self, rng: np.random.Generator) -> Taken:
        """Return a random sample of the clip.

        Raises:
            ValueError: nowhere does the subject show, or the video is damaged.
        """
        with self._naming():
            numbers = window(self.starts, self.settings, rng)
        taken = self.take(numbers)
        if self.settings.crop == "middle":
            return taken
        place = random_square(taken.frames, taken.masks, self.size_px, rng)
        masks = None if taken.masks is None else square(taken.masks, place)
        return replace(taken, frames=square(taken.frames, place), masks=masks)

    def take(self, numbers: NDArray[np.int64]) -> Taken:
        """Return the frames with these numbers, and their masks.

        Raises:
            ValueError: the video or a mask is damaged.
        """
        with self._naming():
            frames, masks = decode_some(self._video, numbers.tolist()), None
            if self._rles is not None:
                masked = numbers if self.settings.frame_masks or self.settings.multi_slot else numbers[:1]
                masks = np.stack([decode_rle(self._rles[number]) for number in masked.tolist()])
                if masks.shape[1:] != frames.shape[1:3]:
                    raise ValueError(f"its masks {masks.shape} do not fit its frames {frames.shape}")
        return Taken(key=self.key, caption=self.caption, numbers=numbers, frames=frames, masks=masks)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{self._named}: {error}") from error


@dataclass(frozen=True)
class Starts:
    """Where in a clip a sample may start."""

    count: int
    """Before this frame."""
    stride: int
    """Frames from one taken to the next; less than asked for where the clip is too short for it."""
    shows: Callable[[int], bool]
    """Frame -> whether its subject is within the framing: the first frame taken has to show it."""

    def shown(self, most: int) -> NDArray[np.int64]:
        """Return those that show the subject, int64 [N]: all, or `most` spread evenly over them.

        Raises:
            ValueError: none does.
        """
        starts = np.flatnonzero([self.shows(start) for start in range(self.count)])
        if not len(starts):
            raise ValueError(_OUT_OF_SIGHT)
        if 0 < most < len(starts):
            starts = starts[((np.arange(most) + 0.5) * len(starts) / most).astype(int)]
        return starts

    def draw(self, rng: np.random.Generator) -> int:
        """Return one of those that show the subject, each as likely; it looks at few of the others.

        Raises:
            ValueError: none does.
        """
        for start in rng.permutation(self.count).tolist():
            if self.shows(start):
                return int(start)
        raise ValueError(_OUT_OF_SIGHT)


def starts_of(
    video: bytes, rles: Sequence[Mapping[str, object]] | None, settings: DataSettings, size_px: int
) -> Starts:
    """Return where in a clip a sample may start.

    Raises:
        ValueError: the clip has fewer frames than a sample.
    """
    num_frames, wanted = probe(video).num_frames if rles is None else len(rles), settings.num_frames
    if num_frames < wanted:
        raise ValueError(f"it has {num_frames} frames, training takes {wanted}: curate with limits.min_frames")
    stride = sample_stride(num_frames, wanted, settings.frame_stride)
    return Starts(
        num_frames - stride * (wanted - 1), stride, lambda start: rles is None or in_sight(rles[start], size_px)
    )


def window(starts: Starts, settings: DataSettings, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return which frames of a clip a sample takes, int64 [F], evenly spaced, from a random start on.

    Raises:
        ValueError: no start shows the subject.
    """
    few = settings.window_starts
    start = int(rng.choice(starts.shown(few))) if few else starts.draw(rng)
    return start + starts.stride * np.arange(settings.num_frames)


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
