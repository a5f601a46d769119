"""Sources of unknown origin become canonical clips, through child processes with limits.

Only limited children open a source: demuxers and codecs from a list, the file protocol alone, limits on frame size,
frames, memory and time. One describes the header (cheap: the resolution rule needs no decoding), the other, ffmpeg,
decodes and sends scaled frames through a pipe; the parent encodes them with the one canonical encoder. A source counts
only if it has as many frames as it declares, all without an error. Cost: the decode, plus the encode on one core.
"""

from __future__ import annotations

import json
import math
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import ffmpeg
import imageio_ffmpeg
import numpy as np

from magdiff_curation.clips.masks import Image
from magdiff_curation.config import ClipSettings, LimitSettings
from magdiff_curation.limited_child import limited_child
from magdiff_curation.reasons import ClipRejected, Reason

DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts"
CODECS = "h264,hevc,vp8,vp9,av1,libdav1d,mpeg4,mpeg2video,mpeg1video,mjpeg,prores"
VARIABLE_RATE_TOLERANCE_FRAMES = 3
"""So many may be fewer than a track's duration x rate where that is no whole number: the rate is an average then. A
whole number must be reached: that is how a file of constant rate without a number of frames declares it."""
SHARED_DURATION_TOLERANCE = 0.1
"""The share that may be missing where only the whole file has a duration, which its sound may outlast."""
_WHOLE = 0.07  # durations are rounded to milliseconds
_PROBE = Path(__file__).with_name("probe_child.py")
_DECODED = (
    r"^\[in#0/[^]]*\] +Input stream #0:{stream} \(video\): "
    r"(\d+) packets read .*?; (\d+) frames decoded; (\d+) decode errors"
)
_TURNED = re.compile(r"^\[(?:vf|fc)#.*parameters changed to .*?, (\d+)x(\d+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """What a source's header declares; sizes in square pixels."""

    codec: str
    width: int
    height: int
    frame_rate: Fraction
    duration_seconds: float
    declared_frames: int | None = None
    """None where the container declares only a duration (webm, most mkv, ts)."""
    min_frames: int = 1
    """Fewer are not accepted: the declared number, or what the duration allows."""
    coded_size: tuple[int, int] = (0, 0)
    """Width and height in the file's own pixels, square or not."""
    stream: int = 0
    """Which of the file's streams it is."""


def ffmpeg_version() -> str:
    """Return the version of the ffmpeg that opens sources."""
    return str(imageio_ffmpeg.get_ffmpeg_version())


def probe_source(path: Path, limits: LimitSettings) -> SourceInfo:
    """Return what a source's header declares.

    Raises:
        ClipRejected: missing, refused, unreadable, or past a limit.
    """
    _check_kind(path)
    command = [sys.executable, "-I", "-B", str(_PROBE), str(path.absolute()), DEMUXERS, CODECS, str(limits.max_pixels)]
    with limited_child(command, limits) as child:
        answer = child.stdout.read(2**16)
        code, log = child.end()
    if code != 0:
        raise ClipRejected(Reason.SOURCE_UNREADABLE, f"reading the header ended with {code}: {_last_words(log)}")
    found = json.loads(answer)
    if "reason" in found:
        raise ClipRejected(Reason(found["reason"]), found["detail"])
    width, height = round(found["width"] * Fraction(found["shape"])), int(found["height"])
    if max(width, found["width"]) * height > limits.max_pixels:
        raise ClipRejected(
            Reason.LIMIT_EXCEEDED, f"{width}x{height} px is more than {limits.max_pixels} pixels (limits.max_pixels)"
        )
    if min(width, height) < 2:
        raise ClipRejected(Reason.SOURCE_REFUSED, f"frames of {width}x{height} px are no picture")
    rate, seconds, declared = Fraction(found["rate"]), float(found["duration"]), found["frames"]
    expected = float(seconds * rate)
    if declared is not None:
        fewest = declared
    elif found["exact_duration"]:
        is_whole = abs(expected - round(expected)) < _WHOLE
        fewest = round(expected) - (0 if is_whole else VARIABLE_RATE_TOLERANCE_FRAMES)
    else:
        fewest = math.floor((1 - SHARED_DURATION_TOLERANCE) * expected) - VARIABLE_RATE_TOLERANCE_FRAMES
    return SourceInfo(
        codec=found["codec"],
        width=width,
        height=height,
        frame_rate=_common_rate(rate),
        duration_seconds=seconds,
        declared_frames=declared,
        min_frames=max(1, fewest),
        coded_size=(found["width"], found["height"]),
        stream=found["stream"],
    )


def canonical_rate(info: SourceInfo, settings: ClipSettings) -> Fraction:
    """Return the canonical clip's frames per second."""
    return min(info.frame_rate, Fraction(settings.max_frame_rate).limit_denominator(1001))


def canonical_size(info: SourceInfo, settings: ClipSettings) -> tuple[int, int]:
    """Return the canonical clip's width and height, the other way round where the source is to be turned."""
    short_side = min(settings.short_side_px, info.width, info.height) // 2 * 2
    scale = short_side / min(info.width, info.height)
    return round(info.width * scale / 2) * 2, round(info.height * scale / 2) * 2


def displayed_size(info: SourceInfo, width: int, height: int) -> tuple[int, int]:
    """Return the source's width and height as players show it, given frames of it: headers leave turning out."""
    turned = (info.width > info.height) != (width > height)
    return (info.height, info.width) if turned else (info.width, info.height)


def check_decoded_size(num_frames: int, width: int, height: int, limits: LimitSettings) -> None:
    """Raise ClipRejected if a canonical clip is too large for a worker to hold."""
    megabytes = num_frames * width * height * 3 / 10**6
    if megabytes > limits.max_decoded_megabytes:
        raise ClipRejected(
            Reason.TOO_LONG,
            f"{num_frames} frames of {width}x{height} px are {megabytes:.0f} MB decoded, over "
            f"{limits.max_decoded_megabytes:g} MB: give spans, set split.max_shot_seconds, or raise "
            "limits.max_decoded_megabytes",
        )


def decode_source(path: Path, info: SourceInfo, settings: ClipSettings, limits: LimitSettings) -> Iterator[Image]:
    """Yield the source's frames at canonical size and rate, uint8 [H, W, 3] with even sides.

    Raises:
        ClipRejected: at the end, where frames are missing or damaged; at once, where a limit is passed.
    """
    promised = info.declared_frames or math.ceil(info.duration_seconds * info.frame_rate)
    if promised > limits.max_frames:
        raise _too_many(promised, limits)
    rate = canonical_rate(info, settings)
    # Gaps between timestamps are filled with copies: no more of them than the declared time holds.
    most = min(limits.max_frames, math.ceil(1.1 * info.duration_seconds * rate) + 2 * math.ceil(rate))
    size: tuple[int, ...] | None = None
    with limited_child(_decode_command(path, info, settings, limits), limits) as child:
        for index, image in enumerate(_read_images(child.stdout)):
            if size is not None and image.shape != size:
                raise _changing_size(image.shape[1], image.shape[0])
            if index >= most:
                raise ClipRejected(
                    Reason.SOURCE_UNREADABLE,
                    f"its frames go on after {float(index / rate):.1f} s, the header declares "
                    f"{info.duration_seconds:g} s",
                )
            size = image.shape
            yield image
        code, log = child.end()
    for turned in _TURNED.finditer(log):  # also where colours change, which is no harm
        if (int(turned[1]), int(turned[2])) != info.coded_size:
            raise _changing_size(int(turned[1]), int(turned[2]))
    # The last such line is ffmpeg's own; a title that looks like it is printed at the start.
    counts = re.findall(_DECODED.format(stream=info.stream), log, re.MULTILINE)
    if code != 0 or not counts:
        raise ClipRejected(Reason.SOURCE_UNREADABLE, f"ffmpeg ended with {code}: {_last_words(log)}")
    packets, frames, errors = (int(count) for count in counts[-1])
    _check_counts(info, limits, packets, frames, errors)


def _check_counts(info: SourceInfo, limits: LimitSettings, packets: int, frames: int, errors: int) -> None:
    if frames > limits.max_frames:
        raise _too_many(frames, limits)
    if errors or (info.declared_frames is None and frames != packets):
        raise ClipRejected(
            Reason.FRAMES_MISSING, f"{packets} packets were read, {frames} frames decoded, with {errors} errors"
        )
    if info.declared_frames is not None and frames != info.declared_frames:
        hidden = "; where an edit list hides them, encode it anew without" if packets == info.declared_frames else ""
        raise ClipRejected(
            Reason.FRAMES_MISSING, f"the header declares {info.declared_frames} frames, {frames} decode{hidden}"
        )
    if frames < info.min_frames:
        raise ClipRejected(
            Reason.FRAMES_MISSING,
            f"the header declares {info.duration_seconds:g} s, at least {info.min_frames} frames; {frames} decode",
        )


def _decode_command(path: Path, info: SourceInfo, settings: ClipSettings, limits: LimitSettings) -> list[str]:
    short_side = min(settings.short_side_px, info.width, info.height) // 2 * 2
    rate = canonical_rate(info, settings)
    scale = f"if(gt(iw*sar,ih),-2,{short_side})", f"if(gt(iw*sar,ih),{short_side},-2)"
    source = ffmpeg.input(
        f"file:{path.absolute()}",
        format_whitelist=DEMUXERS,
        codec_whitelist=CODECS,
        protocol_whitelist="file",
        max_pixels=limits.max_pixels,
        threads=1,
    )
    video = source[str(info.stream)].filter("trim", end_frame=limits.max_frames + 1)
    video = video.filter("scale", "trunc(iw*sar/2)*2", "ih").filter("setsar", 1)
    video = video.filter("scale", *scale, flags="lanczos+accurate_rnd+full_chroma_int+bitexact")
    video = video.filter("fps", f"{rate.numerator}/{rate.denominator}")
    output = video.output("pipe:", format="image2pipe", vcodec="ppm", pix_fmt="rgb24")
    command = output.global_args("-hide_banner", "-nostdin", "-nostats", "-xerror", "-v", "verbose")
    return list(command.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe()))


def _check_kind(path: Path) -> None:
    """Raise ClipRejected for what is no file: opening a FIFO or a device could block."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ClipRejected(Reason.SOURCE_MISSING, f"{path} is not a file: {error}") from error
    if not stat.S_ISREG(mode):
        raise ClipRejected(Reason.SOURCE_REFUSED, f"{path} is no file (a folder, pipe, socket or device)")


def _read_images(pipe: IO[bytes]) -> Iterator[Image]:
    while pipe.readline(8) == b"P6\n":
        width, height = (int(side) for side in pipe.readline(32).split())
        pipe.readline(8)
        content = pipe.read(width * height * 3)
        if len(content) < width * height * 3:
            return  # the child died; its exit status and counts tell why
        yield np.frombuffer(content, np.uint8).reshape(height, width, 3)


def _common_rate(rate: Fraction) -> Fraction:
    """Return the whole or NTSC rate that a measured average stands for, else the rate."""
    whole = round(rate)
    ntsc = round(rate * 1001 / 1000) * Fraction(1000, 1001)
    for common in (Fraction(whole), ntsc):
        if common and abs(common - rate) < Fraction(1, 200):
            return common
    return rate.limit_denominator(1001)


def _too_many(frames: int, limits: LimitSettings) -> ClipRejected:
    return ClipRejected(
        Reason.LIMIT_EXCEEDED,
        f"{frames} frames are more than {limits.max_frames}: cut the source, or raise limits.max_frames",
    )


def _changing_size(width: int, height: int) -> ClipRejected:
    return ClipRejected(Reason.SOURCE_REFUSED, f"its frame size changes on the way, to {width}x{height} px")


def _last_words(text: str) -> str:
    """Return the last line that says what was wrong, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Exiting")]
    wrong = [line for line in lines if re.search("error|invalid|corrupt|missing", line, re.IGNORECASE)]
    # Threads report how they ended: what ended them comes before.
    causes = [line for line in wrong if not re.search("terminating|finished with|return code|decode errors", line)]
    return (causes or wrong or lines or ["it said nothing"])[-1][:300]
