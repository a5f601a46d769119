"""The videos of a folder: which there are, and one of them decoded.

A video is a file (`.mp4`, `.m4v`, `.mov`, `.avi`, `.mkv`, `.webm`, `.gif`) or a sub-folder of numbered pictures, at any
depth; its name is its path within the folder, without a file's suffix. Files are of unknown origin: only curation's
limited children open them (curation's `normalize`), at their own size and rate, to the end: a video counts only if all
its frames decode. That costs 0.15 s of CPU for a tiny one, nearly all of it processes that start. Pictures are read by
Pillow, within the same limit on pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import PIL

from magdiff_curation.clips.masks import Frames, Image
from magdiff_eval.scoring.faults import Facts, Reason, VideoFault
from magdiff_eval.scoring.pictures import is_frame, pictures
from magdiff_model.media import vision_packages

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".gif")
MAX_DECODED_BYTES = 10**9
"""Of a decoded video, which a worker must hold."""
MAX_ASPECT = 16
"""A strip of pixels, its short side brought to a network's, would fill any memory."""
_SHOWN = 5


@dataclass(frozen=True)
class VideoPath:
    """A video of a folder."""

    name: str
    """Its path within the folder, with forward slashes, without a file's suffix."""
    path: Path
    """The file, or the folder of pictures."""
    is_folder: bool
    companions: tuple[VideoPath, ...] = ()
    """Videos of its length and size that belong to it, such as an edit's source and masks: `read` puts their channels
    behind its own, and its content is theirs too."""


def list_videos(folder: Path) -> list[VideoPath]:
    """Return the videos below a folder, by name; hidden entries and whatever is no video are passed over.

    Raises:
        ValueError: no such folder, no video in it, two videos of one name, pictures in the folder itself, or a link
            that leads back to a folder it is in.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give one that holds videos, or sub-folders of numbered frames")
    videos = sorted(_below(folder, folder, [folder.resolve()]), key=lambda video: video.name)
    if not videos:
        raise ValueError(
            f"{folder} holds no video: need files ({', '.join(SUFFIXES)}), or sub-folders of numbered pictures "
            "(.png, .jpg)"
        )
    twins = [pair for pair in pairwise(videos) if pair[0].name == pair[1].name]
    if twins:
        shown = "; ".join(f"{a.path} and {b.path} are both {a.name}" for a, b in twins[:_SHOWN])
        raise ValueError(f"{len(twins)} names are given twice: {shown}: rename or move one of each")
    return videos


def companion(path: Path) -> VideoPath:
    """Return a file, or a folder of numbered pictures, as a companion."""
    return VideoPath(path.name, path, is_folder=path.is_dir())


def reader_stamp() -> dict[str, str]:
    """Return what decodes videos, as the stamp of features holds it: other versions may give other pixels."""
    with vision_packages():
        from magdiff_curation.normalize import ffmpeg_version
    return {"ffmpeg": ffmpeg_version(), "pillow": PIL.__version__, "size": "own", "rate": "own"}


def read(video: VideoPath) -> tuple[Frames, Facts]:
    """Return all frames of a video, uint8 [F, H, W, 3] at its own size, and what it is; of companions 3 channels more.

    Raises:
        VideoFault: it cannot be read, or not to its end; or a companion cannot, or is of another length or size.
        ValueError: the packages that read videos are missing.
    """
    frames, facts = _read_alone(video)
    beside = [frames]
    for companion in video.companions:
        try:
            beside.append(_read_alone(companion)[0])
        except VideoFault as stopped:
            reason, detail = stopped.fault.reason, stopped.fault.detail
            raise VideoFault(reason, f"{companion.path}, which belongs to it: {detail}") from None
        if beside[-1].shape != frames.shape:
            raise VideoFault(
                Reason.COMPANION_DIFFERS,
                f"it is {_told(frames)}, and {companion.path} {_told(beside[-1])}: give both the same frames and size",
            )
    return np.concatenate(beside, axis=3) if video.companions else frames, facts


def _told(frames: Frames) -> str:
    return f"{len(frames)} frames of {frames.shape[2]}x{frames.shape[1]} px"


def _read_alone(video: VideoPath) -> tuple[Frames, Facts]:
    if video.is_folder:
        frames = _stacked(pictures(video.path))
        rate, kind = None, "frames"
    else:
        frames, rate = _read_file(video.path)
        kind = video.path.suffix[1:].lower()
    height, width = frames.shape[1:3]
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise VideoFault(Reason.REFUSED, f"frames of {width}x{height} px are no picture (over {MAX_ASPECT}:1)")
    return frames, Facts(num_frames=len(frames), width=width, height=height, frame_rate=rate, kind=kind)


def _below(folder: Path, root: Path, within: list[Path]) -> Iterator[VideoPath]:
    numbered = False
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = folder / entry.name
            if not entry.name.isprintable():  # what is no UTF-8 either
                raise ValueError(f"{entry.name!r} in {folder} is no name that JSON holds: rename it")
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                real = path.resolve()
                if real in within:
                    raise ValueError(f"{path} links to {real}, which it is in: remove the link")
                yield from _below(path, root, [*within, real])
            elif path.suffix.lower() in SUFFIXES:
                yield VideoPath(path.relative_to(root).with_suffix("").as_posix(), path, is_folder=False)
            else:
                numbered = numbered or is_frame(entry.name)
    if numbered and folder == root:
        raise ValueError(f"{root} holds frames itself: give the folder above it, with a sub-folder for each video")
    if numbered:
        yield VideoPath(folder.relative_to(root).as_posix(), folder, is_folder=True)


def _read_file(path: Path) -> tuple[Frames, float]:
    with vision_packages():
        from magdiff_curation import normalize
        from magdiff_curation.config import ClipSettings, LimitSettings
        from magdiff_curation.reasons import ClipRejected
        from magdiff_eval.scoring import gifs
    limits = LimitSettings()
    own = ClipSettings(short_side_px=2**15, max_frame_rate=1000.0)
    decoded: list[Image] = []
    try:
        if path.suffix.lower() == ".gif":
            info = gifs.probe(path, limits)
            images = gifs.decode(path, info, limits)
        else:
            info = normalize.probe_source(path, limits)
            images = normalize.decode_source(path, info, own, limits)
        decoded.extend(_within_limit(images))
    except ClipRejected as rejected:
        if rejected.reason == "frames_missing" and not decoded:
            raise VideoFault(Reason.NO_FRAMES, rejected.detail) from None
        raise VideoFault(_REASONS.get(rejected.reason, Reason.UNREADABLE), rejected.detail) from None
    if not decoded:
        raise VideoFault(Reason.NO_FRAMES, "no frame of it decodes: encode it anew, as H.264 in mp4")
    height, width = decoded[0].shape[:2]
    declared = normalize.displayed_size(info, width, height)
    if (width, height) != declared:
        raise VideoFault(
            Reason.ODD_SIZE,
            f"its frames are {declared[0]}x{declared[1]} px, and would be scaled to {width}x{height}: "
            "crop or pad it to even sides",
        )
    return np.stack(decoded), float(info.frame_rate)


def _stacked(images: Iterator[Image]) -> Frames:
    decoded = list(_within_limit(images))
    if not decoded:
        raise VideoFault(Reason.NO_FRAMES, "the folder has no numbered picture")
    return np.stack(decoded)


def _within_limit(images: Iterator[Image]) -> Iterator[Image]:
    total = 0
    for image in images:
        total += image.nbytes
        if total > MAX_DECODED_BYTES:
            raise VideoFault(
                Reason.LIMIT_EXCEEDED,
                f"it is over {MAX_DECODED_BYTES / 1e6:g} MB when decoded: cut it, or write it smaller",
            )
        yield image


_REASONS = {
    "frames_missing": Reason.FRAMES_MISSING,
    "limit_exceeded": Reason.LIMIT_EXCEEDED,
    "too_long": Reason.LIMIT_EXCEEDED,
    "source_refused": Reason.REFUSED,
}
