"""Copy a video's pictures, unchanged, into a plain mp4: `python -I copy_child.py PATH FORMATS MAX_PIXELS` prints it.

Runs as one of curation's limited children, since it opens videos of unknown origin. Sound, titles, comments and what
the encoder wrote about itself stay behind: they could tell who made the video. The exit status is 3, and nothing is
printed, where browsers would not play the copy: not H.264 in 4:2:0, turned, or of pixels that are not square.
"""

from __future__ import annotations

import io
import sys
from pathlib import PurePath

import av
from av.bitstream import BitStreamFilterContext

NOT_PLAYABLE = 3
_SUPPLEMENTAL = 6  # the unit of an H.264 stream that x264 writes its name and settings into


def main() -> None:
    """Print the copy."""
    path, formats, max_pixels = sys.argv[1:]
    limits = {"format_whitelist": formats, "codec_whitelist": "h264", "protocol_whitelist": "file"}
    if PurePath(path).suffix.lower() not in (".mp4", ".m4v"):
        sys.exit(NOT_PLAYABLE)
    options = limits | {"max_pixels": max_pixels, "threads": "1"}
    with av.open(f"file:{path}", options=options) as container:
        if not container.streams.video or not _plays(container):
            sys.exit(NOT_PLAYABLE)
    with av.open(f"file:{path}", options=options) as container:
        sys.stdout.buffer.write(_copy(container))


def _plays(container: av.container.InputContainer) -> bool:
    stream = container.streams.video[0]
    if stream.codec_context.name != "h264" or stream.sample_aspect_ratio not in (None, 0, 1):
        return False
    frame = next(container.decode(stream))
    return frame.format.name in ("yuv420p", "yuvj420p") and frame.rotation == 0


def _copy(container: av.container.InputContainer) -> bytes:
    stream, content = container.streams.video[0], io.BytesIO()
    with av.open(content, "w", format="mp4", options={"fflags": "+bitexact"}) as output:
        copied = output.add_stream_from_template(stream)
        copied.metadata.clear()
        plain = BitStreamFilterContext(f"filter_units=remove_types={_SUPPLEMENTAL}", stream)
        for packet in container.demux(stream):
            for kept in plain.filter(packet if packet.dts is not None else None):
                kept.stream = copied
                output.mux(kept)
    return content.getvalue()


if __name__ == "__main__":
    main()
