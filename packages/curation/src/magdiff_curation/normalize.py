"""Sources of unknown origin become canonical clips, through a child process with limits.

Only an ffmpeg child opens a source: demuxers and codecs from a list, the file protocol alone, limits on frame
size, memory and time. It probes the header first (cheap: the resolution rule needs no decoding), then decodes
and sends scaled frames through a pipe; the parent encodes them with the one canonical encoder. A source counts
only if every packet that was read became a frame, without an error. Cost: the decode, plus the encode on one core.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import ffmpeg
import imageio_ffmpeg
import numpy as np

from magdiff_curation import limited_exec
from magdiff_curation.clips.masks import Image
from magdiff_curation.config import ClipSettings, LimitSettings
from magdiff_curation.reasons import ClipRejected, Reason

DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts"
CODECS = "h264,hevc,vp8,vp9,av1,libdav1d,mpeg4,mpeg2video,mpeg1video,mjpeg,prores"
_STREAM = re.compile(r"Stream #0:\d+.*?: Video: (?P<codec>\w+).*?, (?P<width>\d+)x(?P<height>\d+)")
_SHAPE = re.compile(r"SAR (\d+):(\d+)")
_RATE = re.compile(r"([\d.]+)(k?) fps")
_DURATION = re.compile(r"Duration: (\d+):(\d+):([\d.]+)")
_DECODED = re.compile(
    r"Input stream #0:\d+ \(video\): (\d+) packets read .*?; (\d+) frames decoded; (\d+) decode errors"
)


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """What a source's header declares; sizes in square pixels."""

    codec: str
    width: int
    height: int
    frame_rate: Fraction
    duration_seconds: float


def ffmpeg_version() -> str:
    """Return the version of the ffmpeg that opens sources."""
    return str(imageio_ffmpeg.get_ffmpeg_version())


def probe_source(path: Path, limits: LimitSettings) -> SourceInfo:
    """Return what a source's header declares, decoding nothing.

    Raises:
        ClipRejected: missing, unreadable, or past a limit.
    """
    if not path.is_file():
        raise ClipRejected(Reason.SOURCE_MISSING, f"{path} is not a file")
    # ffmpeg without an output describes its input on stderr and exits with an error, whatever the input is like.
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-hide_banner",
        "-nostdin",
        *_input_options(limits),
        "-i",
        f"file:{path}",
    ]
    with _child(command, limits) as (process, log):
        process.wait()
        text = log()
    stream = _STREAM.search(text)
    rate, duration = _RATE.search(text), _DURATION.search(text)
    if stream is None or rate is None or duration is None:
        raise ClipRejected(Reason.SOURCE_UNREADABLE, _last_words(text))
    width, height = int(stream["width"]), int(stream["height"])
    if width * height > limits.max_pixels:
        raise ClipRejected(Reason.LIMIT_EXCEEDED, f"{width}x{height} px is more than {limits.max_pixels} pixels")
    shape = _SHAPE.search(text)
    if shape and int(shape[1]) and int(shape[2]):
        width = round(width * int(shape[1]) / int(shape[2]))
    hours, minutes, seconds = duration.groups()
    frame_rate = Fraction(rate[1]) * (1000 if rate[2] else 1)
    if not frame_rate:
        raise ClipRejected(Reason.SOURCE_UNREADABLE, "the header declares no frame rate")
    return SourceInfo(
        codec=stream["codec"],
        width=width,
        height=height,
        frame_rate=_exact_rate(frame_rate),
        duration_seconds=int(hours) * 3600 + int(minutes) * 60 + float(seconds),
    )


def canonical_rate(info: SourceInfo, settings: ClipSettings) -> Fraction:
    """Return the canonical clip's frames per second."""
    return min(info.frame_rate, Fraction(settings.max_frame_rate).limit_denominator(1001))


def decode_source(path: Path, info: SourceInfo, settings: ClipSettings, limits: LimitSettings) -> Iterator[Image]:
    """Yield the source's frames at canonical size and rate, uint8 [H, W, 3] with even sides.

    Raises:
        ClipRejected: at the end, where frames are missing or damaged; at once, where a limit stops the child.
    """
    short_side = min(settings.short_side_px, info.width, info.height) // 2 * 2
    rate = canonical_rate(info, settings)
    scale = f"if(gt(iw*sar,ih),-2,{short_side})", f"if(gt(iw*sar,ih),{short_side},-2)"
    options = _input_options(limits)
    stream = ffmpeg.input(
        f"file:{path}", **dict(zip((name.lstrip("-") for name in options[::2]), options[1::2], strict=True))
    )
    video = stream.video.filter("scale", "trunc(iw*sar/2)*2", "ih").filter("setsar", 1)
    video = video.filter("scale", *scale, flags="lanczos+accurate_rnd+full_chroma_int+bitexact")
    video = video.filter("fps", f"{rate.numerator}/{rate.denominator}")
    output = video.output("pipe:", format="image2pipe", vcodec="ppm", pix_fmt="rgb24")
    command = output.global_args("-hide_banner", "-nostdin", "-nostats", "-xerror", "-v", "verbose").compile(
        cmd=imageio_ffmpeg.get_ffmpeg_exe()
    )
    with _child(command, limits) as (process, log):
        assert process.stdout is not None, "the child's output is a pipe"
        while (image := _read_ppm(process.stdout)) is not None:
            yield image
        code = process.wait()
        text = log()
    counts = _DECODED.search(text)
    if code != 0 or counts is None:
        raise ClipRejected(Reason.SOURCE_UNREADABLE, f"ffmpeg ended with {code}: {_last_words(text)}")
    packets, frames, errors = (int(count) for count in counts.groups())
    if frames != packets or errors:
        raise ClipRejected(
            Reason.FRAMES_MISSING, f"{packets} packets were read, {frames} frames decoded, with {errors} errors"
        )
    declared = float(info.duration_seconds * info.frame_rate)
    if frames < 0.9 * declared - 2:
        raise ClipRejected(
            Reason.FRAMES_MISSING, f"the header declares about {declared:.0f} frames, {frames} are there"
        )


def _input_options(limits: LimitSettings) -> list[str]:
    return [
        "-format_whitelist", DEMUXERS,
        "-codec_whitelist", CODECS,
        "-protocol_whitelist", "file",
        "-max_pixels", str(limits.max_pixels),
        "-threads", "1",
    ]  # fmt: skip


@contextmanager
def _child(command: list[str], limits: LimitSettings) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Yield a limited child and a function that returns what it wrote to stderr; the child never outlives this."""
    wrapper = [
        sys.executable, "-I", limited_exec.__file__,
        str(limits.max_memory_mib * 2**20), str(int(limits.max_wall_seconds) + 1),
    ]  # fmt: skip
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
            wrapper + command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env={}
        )
        expired = threading.Event()

        def stop() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(limits.max_wall_seconds, stop)
        timer.start()

        def log() -> str:
            if expired.is_set():
                raise ClipRejected(Reason.LIMIT_EXCEEDED, f"ffmpeg took more than {limits.max_wall_seconds:g} s")
            errors.seek(0)
            return errors.read(2**20).decode(errors="replace")

        try:
            yield process, log
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _read_ppm(pipe: IO[bytes]) -> Image | None:
    if pipe.readline() != b"P6\n":
        return None
    width, height = (int(side) for side in pipe.readline().split())
    pipe.readline()
    content = pipe.read(width * height * 3)
    if len(content) < width * height * 3:
        return None  # the child died; its exit status and counts tell why
    return np.frombuffer(content, np.uint8).reshape(height, width, 3)


def _exact_rate(rate: Fraction) -> Fraction:
    # ffmpeg prints 29.97 for 30000/1001
    ntsc = round(rate * 1001 / 1000) * Fraction(1000, 1001)
    return ntsc if rate.denominator != 1 and abs(ntsc - rate) < Fraction(1, 100) else rate


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and "At least one output file" not in line]
    return (lines[-1] if lines else "ffmpeg said nothing")[:300]
