"""Videos and pictures as browsers play them, and as they tell nothing of who made them.

An H.264 mp4 keeps its pictures bit for bit; what else its file says is left out. Everything else (other codecs, GIFs,
folders of frames) is encoded once, visually transparent. Every video is decoded to its end first, so that no rater
meets a broken one: 0.3 s of CPU for a tiny video.
"""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from pathlib import Path

from PIL import Image as PillowImage

from magdiff_curation.clips.video import encode
from magdiff_curation.reasons import ClipRejected
from magdiff_eval.human import copy_child
from magdiff_eval.scoring.faults import Reason, VideoFault
from magdiff_eval.scoring.videos import VideoPath, read
from magdiff_model.media import read_image, vision_packages

MAX_PICTURE_PX = 1024
"""The longer side of a reference picture; larger ones are scaled."""


def playable_video(video: VideoPath, frame_rate: float) -> bytes:
    """Return a video as mp4 that browsers play: H.264, 4:2:0, no sound.

    Args:
        video: as `list_videos` found it.
        frame_rate: of a folder of frames, frames per second; files keep their own.

    Raises:
        VideoFault: it cannot be read, or not to its end.
        ValueError: the packages that read videos are missing.
    """
    frames, facts = read(video)
    copied = None if video.is_folder else _copied(video.path)
    if copied is not None:
        return copied
    height, width = (side // 2 * 2 for side in frames.shape[1:3])  # 4:2:0 takes even sides: a row or column less
    if not (height and width):
        raise VideoFault(Reason.REFUSED, f"frames of {facts.width}x{facts.height} px are no picture")
    return encode(frames[:, :height, :width], Fraction(facts.frame_rate or frame_rate).limit_denominator(1001))


def shown_picture(path: Path) -> bytes:
    """Return a picture as PNG, upright, at most `MAX_PICTURE_PX` long, with nothing but its pixels.

    Raises:
        ValueError: not a picture, damaged, or too large.
    """
    picture = PillowImage.fromarray(read_image(path))
    picture.thumbnail((MAX_PICTURE_PX, MAX_PICTURE_PX), PillowImage.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def _copied(path: Path) -> bytes | None:
    """Return a file's own pictures in a plain mp4; None where browsers would not play them."""
    with vision_packages():
        from magdiff_curation.config import LimitSettings
        from magdiff_curation.limited_child import limited_child
        from magdiff_curation.normalize import DEMUXERS
    limits = LimitSettings()
    arguments = [str(path.absolute()), DEMUXERS, str(limits.max_pixels)]
    try:
        with limited_child([sys.executable, "-I", "-B", str(copy_child.__file__), *arguments], limits) as child:
            content = child.stdout.read()
            code, log = child.end()
    except ClipRejected as rejected:
        raise VideoFault(Reason.LIMIT_EXCEEDED, rejected.detail) from None
    if code == copy_child.NOT_PLAYABLE:
        return None
    if code:
        last = log.strip().splitlines()[-1:] or ["it said nothing"]
        raise VideoFault(Reason.UNREADABLE, f"copying it ended with {code}: {last[0][:300]}")
    return content
