"""Describe a video of unknown origin: `python -I probe_child.py PATH FORMATS CODECS MAX_PIXELS` prints one JSON object.

Runs as a limited child: it is the only Python that reads untrusted bytes. PyAV opens the file, which gives exact
rates and durations. The number of frames that the tables of an mp4 or mov declare is read
here once more, box by box: FFmpeg believes one of the tables and says nothing where another one declares more.
Cost: 0.07 s, nearly all of it imports.
"""

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Iterator
from typing import IO, Any

import av
from av.video.stream import VideoStream

_PLAYLISTS = (b"ffconcat", b"#EXTM3U", b"<?xml", b"<MPD", b"<SMIL", b"[playlist]")
_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"moof", b"traf"}
_MAX_BOXES = 200_000
_MAX_ENTRIES = 2_000_000
_MAX_LATE_SECONDS = 0.5


class Rejected(Exception):
    """Why the file goes no further: a reason of the ledger, and a sentence."""


def main() -> None:
    """Print what the file declares, or why it is rejected."""
    path, formats, codecs, max_pixels = sys.argv[1:]
    av.logging.set_level(av.logging.WARNING)
    try:
        found = describe(path, formats, codecs, max_pixels)
    except Rejected as rejection:
        found = {"reason": rejection.args[0], "detail": rejection.args[1]}
    json.dump(found, sys.stdout)


def describe(path: str, formats: str, codecs: str, max_pixels: str) -> dict[str, Any]:
    """Return what the header declares of the first video stream that is no cover picture."""
    options = {
        "format_whitelist": formats,
        "codec_whitelist": codecs,
        "protocol_whitelist": "file",
        "max_pixels": max_pixels,
        "threads": "1",
    }
    with av.logging.Capture() as logs:
        try:
            container = av.open(f"file:{path}", options=options)
        except av.FFmpegError as error:
            raise _not_opened(path, error, " ".join(log[2] for log in logs)) from error
        streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            raise Rejected("source_refused", f"a {container.format.name} file without a video stream")
        stream = streams[0]
        context = stream.codec_context
        if context is None or context.codec.canonical_name not in codecs.split(","):
            name = "unknown" if context is None else context.codec.canonical_name
            raise Rejected("source_refused", f"its codec, {name}, is not one of {codecs}")
        if not (stream.width and stream.height):
            raise _without_size(" ".join(log[2] for log in logs))
        if not stream.average_rate:
            raise Rejected("source_unreadable", "the header declares no frame rate")
        duration, exact_duration = _duration(container, stream)
        frames = declared_frames(path, container, stream)
        if frames is not None and frames < 1:
            raise Rejected("frames_missing", "the header declares a video of no frames")
        shape = stream.sample_aspect_ratio or 1
        return {
            "codec": context.codec.canonical_name,
            "stream": stream.index,
            "width": stream.width,
            "height": stream.height,
            "shape": str(shape),
            "rate": str(stream.average_rate),
            "duration": duration,
            "exact_duration": exact_duration,
            "frames": frames,
        }


def _not_opened(path: str, error: av.FFmpegError, log: str) -> Rejected:
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib is one more import
        head = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")
    if head.startswith(_PLAYLISTS) or "Format not on whitelist" in log:
        return Rejected("source_refused", "what it holds is no video container that is taken")
    if "Cannot allocate memory" in f"{error} {log}":
        return Rejected("limit_exceeded", "its header asks for more memory than the limit (limits.max_memory_mib)")
    return Rejected("source_unreadable", f"{error.strerror}: {' '.join(log.split())[-200:]}")


def _without_size(log: str) -> Rejected:
    if "Picture size" in log and "0x0" not in log:
        return Rejected("limit_exceeded", f"its frames are over the limit on pixels: {' '.join(log.split())[-200:]}")
    return Rejected("source_unreadable", "the header declares no frame size")


def _duration(container: av.container.InputContainer, stream: VideoStream) -> tuple[float, bool]:
    """Return the seconds declared, and whether they are this track's own and not the whole file's."""
    whole = container.duration / av.time_base if container.duration else 0.0
    own = 0.0
    if stream.duration and stream.time_base:
        own = float(stream.duration * stream.time_base)
    elif tag := re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", "")):
        own = int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    alone = len(container.streams) == 1
    if container.format.name.startswith("matroska"):
        if alone:
            own = max(own, whole)
        elif stream.start_time and stream.time_base:
            # Ends count from the file's start, and pictures may begin a little after the sound.
            own -= min(max(float(stream.start_time * stream.time_base), 0.0), _MAX_LATE_SECONDS, own)
    if not own and not whole:
        raise Rejected("source_unreadable", "the header declares no duration")
    return own or whole, bool(own) or alone


def declared_frames(path: str, container: av.container.InputContainer, stream: VideoStream) -> int | None:
    """Return how many frames must come out of the decoder, or None where the file declares no number.

    Those that an edit list hides count: nothing tells a list that was meant from one that is damaged.
    """
    name = container.format.name
    if name.startswith("mov"):
        with open(path, "rb") as file:  # noqa: PTH123
            return boxed_frames(file, stream.id)
    if name == "avi":
        entries = stream.index_entries
        # Places without a frame are not in the index, but count in the header's length; the last place says so.
        if 1 < len(entries) <= _MAX_ENTRIES and entries[-1].timestamp + 1 == stream.frames:
            return len(entries)
        return stream.frames or None
    # FFmpeg copies mkvmerge's count to files that it cuts.
    if not container.metadata.get("ENCODER", container.metadata.get("encoder", "")).startswith("Lavf"):
        for key, value in stream.metadata.items():
            if key.startswith("NUMBER_OF_FRAMES") and value.isdecimal():
                return int(value)
    return stream.frames or None


def boxed_frames(file: IO[bytes], track: int) -> int:
    """Return the most frames that any table of an mp4's track declares, fragments included."""
    tables = fragments = current = 0
    for kind, start, end in _boxes(file, 0, file.seek(0, 2)):
        file.seek(start)
        body = file.read(min(end - start, 24))
        if kind == b"tkhd":
            current = _number(body, 20 if body[:1] == b"\x01" else 12)
        elif kind == b"tfhd":
            current = _number(body, 4)
        elif current != track:
            continue
        elif kind in (b"stsz", b"stz2"):
            tables = max(tables, _number(body, 8))
        elif kind == b"stts":
            count = min(_number(body, 4), (end - start - 8) // 8, _MAX_ENTRIES)
            file.seek(start + 8)
            content = file.read(8 * count)
            tables = max(tables, sum(entry[0] for entry in struct.iter_unpack(">II", content[: len(content) // 8 * 8])))
        elif kind == b"trun":
            fragments += _number(body, 4)
        elif kind == b"dref":
            _refuse_other_files(file, start + 8, end)
    return tables + fragments


def _refuse_other_files(file: IO[bytes], start: int, end: int) -> None:
    for kind, begin, stop in _boxes(file, start, end):
        file.seek(begin)
        if not _number(file.read(4), 0) & 1 and stop - begin > 4:
            raise Rejected("source_refused", f"its frames are in another file ({kind.decode('latin1')} reference)")


def _boxes(file: IO[bytes], start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield every box as kind, start and end of its content, depth first."""
    waiting, seen = [(start, end)], 0
    while waiting:
        start, end = waiting.pop()
        file.seek(start)
        head = file.read(16)
        if start + 8 > end or len(head) < 8:
            continue
        seen += 1
        if seen > _MAX_BOXES:
            raise Rejected("limit_exceeded", f"it has more than {_MAX_BOXES} boxes")
        size, kind, content = _number(head, 0), head[4:8], start + 8
        if size == 1 and len(head) == 16:
            size, content = struct.unpack(">Q", head[8:])[0], start + 16
        stop = end if size == 0 else min(start + size, end)
        if stop < content:
            continue
        waiting.append((stop, end))
        if kind in _CONTAINERS:
            waiting.append((content, stop))
        else:
            yield kind, content, stop


def _number(content: bytes, offset: int) -> int:
    return int.from_bytes(content[offset : offset + 4], "big")


if __name__ == "__main__":
    main()
