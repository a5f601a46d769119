"""GIFs, which curation does not take, through the same limited children: the demuxer and the codec are gif alone.

Every picture is one frame, whatever it lasts; the frame rate is the mean. Where a GIF is transparent it shows the
colour that FFmpeg leaves there.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from magdiff_curation import probe_child
from magdiff_curation.clips.masks import Image
from magdiff_curation.config import LimitSettings
from magdiff_curation.limited_child import limited_child
from magdiff_curation.normalize import SourceInfo
from magdiff_curation.reasons import ClipRejected, Reason

_DECODED = re.compile(
    r"^\[in#0/[^]]*\] +Input stream #0:0 \(video\): .*?; (\d+) frames decoded; (\d+) decode errors", re.MULTILINE
)


def probe(path: Path, limits: LimitSettings) -> SourceInfo:
    """Return what a GIF declares.

    Raises:
        ClipRejected: missing, no GIF, unreadable, or past a limit.
    """
    if not path.is_file():  # opening a pipe or a device could block
        raise ClipRejected(Reason.SOURCE_MISSING, f"{path} is not a file")
    child_path, most = str(probe_child.__file__), str(limits.max_pixels)
    command = [sys.executable, "-I", "-B", child_path, str(path.absolute()), "gif", "gif", most]
    with limited_child(command, limits) as child:
        answer = child.stdout.read(2**16)
        code, log = child.end()
    if code != 0:
        raise ClipRejected(Reason.SOURCE_UNREADABLE, f"reading the header ended with {code}: {log.strip()[-200:]}")
    found = json.loads(answer)
    if "reason" in found:
        raise ClipRejected(Reason(found["reason"]), found["detail"])
    if found["width"] * found["height"] > limits.max_pixels:
        size = f"{found['width']}x{found['height']}"
        raise ClipRejected(Reason.LIMIT_EXCEEDED, f"{size} px is more than {limits.max_pixels} pixels")
    return SourceInfo(
        codec="gif",
        width=found["width"],
        height=found["height"],
        frame_rate=Fraction(found["rate"]),
        duration_seconds=float(found["duration"]),
        declared_frames=found["frames"],
    )


def decode(path: Path, info: SourceInfo, limits: LimitSettings) -> Iterator[Image]:
    """Yield the pictures of a GIF, uint8 [H, W, 3].

    Raises:
        ClipRejected: at the end, where pictures are missing or damaged; at once, where a limit is passed.
    """
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-nostats", "-xerror", "-v", "verbose",
        "-format_whitelist", "gif", "-codec_whitelist", "gif", "-protocol_whitelist", "file",
        "-max_pixels", str(limits.max_pixels), "-threads", "1", "-ignore_loop", "1", "-i", f"file:{path.absolute()}",
        "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:",
    ]  # fmt: skip
    size, count = info.width * info.height * 3, 0
    with limited_child(command, limits) as child:
        while len(content := child.stdout.read(size)) == size:
            count += 1
            if count > limits.max_frames:
                raise ClipRejected(Reason.LIMIT_EXCEEDED, f"it has more than {limits.max_frames} pictures")
            yield np.frombuffer(content, np.uint8).reshape(info.height, info.width, 3)
        code, log = child.end()
    counts = _DECODED.findall(log)
    if code != 0 or not counts:
        raise ClipRejected(Reason.SOURCE_UNREADABLE, f"ffmpeg ended with {code}: {log.strip()[-200:]}")
    frames, errors = (int(number) for number in counts[-1])
    if errors or frames != count or (info.declared_frames is not None and frames != info.declared_frames):
        raise ClipRejected(
            Reason.FRAMES_MISSING, f"it declares {info.declared_frames} pictures, {frames} decode, {errors} errors"
        )
