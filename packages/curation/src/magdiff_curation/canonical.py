"""The clip that an input asks for: its span, its key, and its bytes, made from the source."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from magdiff_curation.clips.atomic import canonical_json, read_many, sha256_hex, write_atomic
from magdiff_curation.clips.masks import Image
from magdiff_curation.clips.video import encode
from magdiff_curation.commit import Workspace
from magdiff_curation.config import CurationSettings
from magdiff_curation.normalize import (
    SourceInfo,
    canonical_rate,
    canonical_size,
    check_decoded_size,
    decode_source,
    probe_source,
)
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.sources import local_copy
from magdiff_curation.state import ClipState


def span_of(state: ClipState, settings: CurationSettings) -> tuple[float, float | None]:
    """Return the span of its source that an input asks for, in seconds."""
    start, end = state.fields.get(settings.start_column, 0), state.fields.get(settings.end_column)
    try:
        begin, stop = float(start), None if end is None else float(end)
    except (TypeError, ValueError):
        begin, stop = -1.0, None
    if not 0 <= begin < math.inf or (stop is not None and not begin < stop < math.inf):
        raise ClipRejected(Reason.SPAN_UNUSABLE, f"the span {start!r} to {end!r} is not two seconds in order")
    return begin, stop


def check_length(state: ClipState, info: SourceInfo, settings: CurationSettings) -> None:
    """Drop a clip that is longer than the limit, or larger than a worker may hold, before it is decoded."""
    limits = settings.limits
    seconds = min(info.duration_seconds, state.end_seconds or math.inf) - state.start_seconds
    if seconds > limits.max_seconds:
        remedy = "give spans, or set split.max_shot_seconds"
        raise ClipRejected(Reason.TOO_LONG, f"{seconds:g} s is over {limits.max_seconds:g} s: {remedy}")
    num_frames = math.ceil(seconds * canonical_rate(info, settings.clip))
    check_decoded_size(num_frames, *canonical_size(info, settings.clip), limits)


def canonical_clip(state: ClipState, settings: CurationSettings) -> bytes:
    """Return the bytes of a clip that normalize has made, made again where an earlier run has cleared them away."""
    path = Workspace(settings.output, settings.work).video(state.row_id)
    video = read_if_there(path)
    if video is None:
        with local_copy(state.path) as source:
            video = encode_span(source, probe_source(source, settings.limits), state, settings)
        write_atomic(path, video)
    return video


def read_if_there(path: Path) -> bytes | None:
    """Return a file's content, or None where there is none."""
    try:
        return read_many([path])[0]
    except FileNotFoundError:
        return None


def encode_span(path: Path, info: SourceInfo, state: ClipState, settings: CurationSettings) -> bytes:
    """Return a source's span as the bytes of a canonical clip."""
    rate = canonical_rate(info, settings.clip)
    try:
        frames = decode_source(path, info, settings.clip, settings.limits)
        return encode(_within(frames, rate, state.start_seconds, state.end_seconds), rate, settings.clip.codec)
    except ValueError as error:
        raise ClipRejected(Reason.SOURCE_UNREADABLE, str(error)) from error


def clip_key(source_sha256: str, start_seconds: float, end_seconds: float | None, settings: CurationSettings) -> str:
    """Return a clip's key: the hash of the source's bytes, the span in it and the settings that shape the clip."""
    codec = settings.clip.codec
    shape: list[object] = [settings.clip.short_side_px, settings.clip.max_frame_rate]
    shape += [codec.constant_rate_factor, codec.preset, codec.group_of_pictures]
    return sha256_hex(canonical_json([source_sha256, start_seconds, end_seconds, shape]))[:32]


def _within(
    frames: Iterator[Image], rate: Fraction, start_seconds: float, end_seconds: float | None
) -> Iterator[Image]:
    # As decimals: the float 0.4 lies after the frame at 2/5 s.
    start, end = Fraction(str(start_seconds)), None if end_seconds is None else Fraction(str(end_seconds))
    # The source is read to its end even so: only then is it known to be whole.
    for index, frame in enumerate(frames):
        seconds = index / rate
        if start <= seconds and (end is None or seconds < end):
            yield frame
