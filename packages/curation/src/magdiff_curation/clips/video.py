"""The canonical clip's video: encode, probe, decode.

H.264 in mp4, 4:2:0, constant frame rate, closed groups of pictures of fixed length so that any frame is at most
one group away from a seek point. The encoder runs on one thread: x264 gives other bytes, and other pixels, for
every thread count. Only canonical clips and the project's own files are opened here; videos of unknown origin
go through `magdiff_curation.normalize` first.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from magdiff_curation.clips.masks import Frames, Image


@dataclass(frozen=True, kw_only=True)
class CodecSettings:
    """How canonical clips are encoded."""

    constant_rate_factor: int = 17
    """x264's quality, 0 (lossless) to 51; 17 is visually transparent."""
    preset: str = "medium"
    """x264's speed preset."""
    group_of_pictures: int = 16
    """Frames from one seek point to the next."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a clip's container declares."""

    width: int
    height: int
    num_frames: int
    frame_rate: Fraction


def encode(
    frames: Iterable[Image],
    frame_rate: Fraction | float,
    settings: CodecSettings = CodecSettings(),
) -> bytes:
    """Return frames, each uint8 [H, W, 3] with even sides, as the bytes of an mp4 file.

    Raises:
        ValueError: no frames, odd sides, or frames of different sizes.
    """
    rate = Fraction(frame_rate).limit_denominator(1001)
    output = io.BytesIO()
    size: tuple[int, int] | None = None
    with av.open(output, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        gop = settings.group_of_pictures
        stream.options = {
            "crf": str(settings.constant_rate_factor),
            "preset": settings.preset,
            "flags": "+bitexact",
            # Neither macroblock-tree rate control nor B-frames: with it, one file in a hundred of 96x64 px differed
            # from process to process (none with x264's assembler off); with both, up to seven within one process.
            "x264-params": f"threads=1:keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=0:no-mbtree=1",
        }
        for index, image in enumerate(frames):
            height, width = image.shape[:2]
            if size is None:
                if height % 2 or width % 2:
                    raise ValueError(f"cannot encode frames of {width}x{height} px: 4:2:0 needs even sides")
                size = (height, width)
                stream.height, stream.width = size
            if (height, width) != size:
                raise ValueError(f"frame {index} is {width}x{height} px, the first was {size[1]}x{size[0]}")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        if size is None:
            raise ValueError("cannot encode a video of no frames")
        container.mux(stream.encode(None))
    return output.getvalue()


def probe(video: bytes) -> VideoInfo:
    """Return what an mp4 declares, without decoding a frame.

    Raises:
        ValueError: not an mp4 with a video stream.
    """
    with _open(video) as container:
        stream = container.streams.video[0]
        assert stream.average_rate is not None, "an mp4's video stream has a rate"
        return VideoInfo(
            width=stream.width, height=stream.height, num_frames=stream.frames, frame_rate=Fraction(stream.average_rate)
        )


def decode(video: bytes, start: int = 0, stop: int | None = None) -> Frames:
    """Return the frames from `start` up to `stop` (exclusive; None: the end), uint8 [F, H, W, 3].

    Raises:
        ValueError: not a readable mp4, an empty range, or fewer frames than it declares.
    """
    with _open(video) as container:
        num_frames = container.streams.video[0].frames
        stop = num_frames if stop is None else stop
        if not 0 <= start < stop <= num_frames:
            raise ValueError(f"frames {start} to {stop} are not within a clip of {num_frames} frames")
        return _frames(container, range(start, stop))


def decode_some(video: bytes, numbers: Sequence[int]) -> Frames:
    """Return the frames with these numbers, which increase, uint8 [F, H, W, 3]; no other is converted to RGB.

    Raises:
        ValueError: not a readable mp4, or it has no such frames.
    """
    with _open(video) as container:
        num_frames = container.streams.video[0].frames
        if not 0 <= numbers[0] <= numbers[-1] < num_frames:
            raise ValueError(f"frames {numbers[0]} to {numbers[-1] + 1} are not within a clip of {num_frames} frames")
        return _frames(container, numbers)


def _frames(container: av.container.InputContainer, numbers: Sequence[int]) -> Frames:
    stream = container.streams.video[0]
    assert stream.time_base is not None, "an mp4's video stream has a time base"
    assert stream.average_rate is not None, "an mp4's video stream has a rate"
    step = 1 / Fraction(stream.average_rate) / stream.time_base
    # A group's frames follow from one another, so more threads only wait: a third longer on two cores.
    stream.codec_context.thread_count = 1
    if numbers[0]:
        container.seek(int(numbers[0] * step), stream=stream)
    wanted, images, per_tick = frozenset(numbers), list[Image](), float(1 / step)
    # One converter, one thread: a new one for every frame, with its own threads, took 14 times as long under load.
    converter = VideoReformatter()
    try:
        for frame in container.decode(stream):
            assert frame.pts is not None, "mp4 frames carry timestamps"
            number = round(frame.pts * per_tick)
            if number in wanted:
                image = converter.reformat(frame, format="rgb24", threads=1)
                images.append(np.asarray(image.to_ndarray(), np.uint8))
            if number >= numbers[-1]:
                break
    except av.FFmpegError as error:
        raise ValueError(f"cannot decode the clip: {error}") from error
    if len(images) != len(numbers):
        raise ValueError(f"{len(numbers)} frames were asked for, {len(images)} could be decoded")
    return np.stack(images)


def _open(video: bytes) -> av.container.InputContainer:
    try:
        container = av.open(io.BytesIO(video), "r", format="mov")
    except av.FFmpegError as error:
        raise ValueError(f"not a readable mp4 ({len(video)} bytes): {error}") from error
    if not container.streams.video:
        container.close()
        raise ValueError("the mp4 has no video stream")
    return container
