"""First frames as small data URIs: of kept clips with their mask from the shards, of others from their source.

Sources are of unknown origin and are opened by `normalize`'s limited ffmpeg child alone; those on S3 are fetched first,
but for large ones. A picture that cannot be had is a sentence that says why. The work is bounded in number and in
time, since a report must not take as long as a run: a small source's picture takes about 0.05 s, a large one's or one
late in its source far longer.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from PIL import Image as PillowImage

from magdiff_curation.clips.index import ShardError, load_index, load_shard_list
from magdiff_curation.clips.location import S3, location
from magdiff_curation.clips.masks import Image
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.clips.video import decode
from magdiff_curation.config import ClipSettings, LimitSettings
from magdiff_curation.normalize import decode_source, probe_source
from magdiff_curation.overview import overlay
from magdiff_curation.reasons import ClipRejected
from magdiff_curation.report.ledger_table import Row
from magdiff_curation.sources import local_copy

_WIDTH_PX, _HEIGHT_PX = 200, 260
_SOURCE_SECONDS = 10.0
"""Time that one source may take, once it is on a disk."""
_FETCHED_MEGABYTES = 100.0
"""Largest source on S3 that is fetched, which takes time of its own."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as a data URI, or why there is none."""

    uri: str = ""
    missing: str = ""


@dataclass(kw_only=True)
class Pictures:
    """Makes pictures until their number or the time is used up; `spent` then says which."""

    output: Path
    max_pictures: int = 120
    max_seconds: float = 60.0
    spent: str = ""
    _made: int = 0
    _deadline: float = 0.0
    _shards: dict[str, Path] | None = None
    _readers: dict[Path, ShardReader] = field(default_factory=dict)

    def first_frame(self, row: Row) -> Picture:
        """Return the picture of an input: never an error."""
        self._deadline = self._deadline or time.monotonic() + self.max_seconds
        remaining = self._deadline - time.monotonic()
        if not self.spent and self._made >= self.max_pictures:
            self.spent = f"the limit of {self.max_pictures} pictures was reached"
        if not self.spent and remaining <= 0:
            self.spent = f"the {self.max_seconds:g} seconds for pictures were used up"
        if self.spent:
            return Picture(missing=f"not drawn: {self.spent}")
        self._made += 1
        try:
            image = self._kept(row) if row.kept else _from_source(row, min(remaining, _SOURCE_SECONDS))
        except ClipRejected as rejection:
            return Picture(missing=f"no picture: {rejection.detail}")
        except (ShardError, ValueError, OSError) as error:
            return Picture(missing=f"no picture: {error}")
        return Picture(uri=_data_uri(image))

    def _kept(self, row: Row) -> Image:
        if self._shards is None:
            paths = [self.output / name for name in load_shard_list(self.output).shards]
            self._shards = {entry.key: path for path in paths for entry in load_index(path).samples}
        path = self._shards.get(row.key)
        if path is None:
            raise ShardError("no shard holds this clip")
        if path not in self._readers:
            self._readers[path] = ShardReader(path)
        clip = self._readers[path].read(row.key)
        return overlay(decode(clip.video, 0, 1)[0], clip.masks[0])


def _from_source(row: Row, seconds: float) -> Image:
    """Return the first frame of an input's span, about 200 px wide.

    Raises:
        ClipRejected: missing, unreadable, or not to be had in time.
        ValueError: the ledger names no file, or one on S3 that is too large to be fetched for a picture.
        OSError: the store cannot be reached.
    """
    if not row.path:
        raise ValueError("the ledger does not say where the file is")
    if row.path.startswith(S3) and (size := _size_megabytes(row.path)) > _FETCHED_MEGABYTES:
        raise ValueError(
            f"the source on S3 has {size:.0f} MB; at most {_FETCHED_MEGABYTES:g} are fetched for a picture"
        )
    with local_copy(row.path) as path:
        return _frame_at(path, row.start_seconds, seconds)


def _size_megabytes(url: str) -> float:
    """Return an object's size; 0 where it cannot be had, as fetching it then says why."""
    try:
        return float(location(url).stat().st_size / 10**6)
    except Exception:
        return 0.0


def _frame_at(path: Path, start_seconds: float, seconds: float) -> Image:
    limits = dataclasses.replace(LimitSettings(), max_wall_seconds=seconds)
    info = probe_source(path, limits)
    # A span's start is reached by decoding; few frames a second then need to pass the pipe.
    rate = 5.0 if start_seconds else 25.0
    short_side_px = max(2, round(min(_WIDTH_PX * info.height / info.width, _WIDTH_PX)))
    settings = ClipSettings(short_side_px=short_side_px, max_frame_rate=rate)
    wanted = round(start_seconds * min(rate, float(info.frame_rate)))
    frames = cast("Generator[Image, None, None]", decode_source(path, info, settings, limits))
    with contextlib.closing(frames):
        for index, image in enumerate(frames):
            if index >= wanted:
                return image
    raise ValueError(f"the source has no frame at {start_seconds:g} s")


def _data_uri(image: Image) -> str:
    picture = PillowImage.fromarray(image)
    scale = min(_WIDTH_PX / picture.width, _HEIGHT_PX / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    content = io.BytesIO()
    picture.resize(size, PillowImage.Resampling.LANCZOS).save(content, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
