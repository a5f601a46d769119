"""What a video's bytes are called: their SHA-256, remembered by path, size and time of change, so that it is read once.

A folder of pictures is called by the names and hashes of its pictures; its size and time stand for all of theirs. A
video with companions is called by its own content and theirs.
"""

from __future__ import annotations

import hashlib
import os
import stat

from magdiff_curation.clips.atomic import canonical_json, sha256_hex, sha256_of_file
from magdiff_eval.scoring.faults import Reason, VideoFault
from magdiff_eval.scoring.features import Signature
from magdiff_eval.scoring.pictures import picture_files
from magdiff_eval.scoring.videos import VideoPath


def signature_of(video: VideoPath) -> Signature:
    """Return what tells, without reading it, whether a video has changed.

    Raises:
        VideoFault: there is no such file, or it is a pipe, a socket or a device.
    """
    alone = _signature_alone(video)
    if not video.companions:
        return alone
    found = [alone, *(_signature_alone(companion) for companion in video.companions)]
    return "|".join(path for path, _, _ in found), sum(size for _, size, _ in found), _number(found)


def content_of(video: VideoPath) -> str:
    """Return the SHA-256 of a video, 64 hexadecimal digits.

    Raises:
        VideoFault: it cannot be read.
    """
    alone = _content_alone(video)
    if not video.companions:
        return alone
    return sha256_hex(canonical_json([alone, *(_content_alone(companion) for companion in video.companions)]))


def _signature_alone(video: VideoPath) -> Signature:
    try:
        if not video.is_folder:
            return (str(video.path.absolute()), *_size_and_time(video.path))
        found = [(path.name, *_size_and_time(path)) for path in picture_files(video.path)]
    except OSError as error:
        raise VideoFault(Reason.UNREADABLE, f"it cannot be opened: {error.strerror}") from None
    # The latest time alone would miss an older picture put in another's place.
    return str(video.path.absolute()), sum(size for _, size, _ in found), _number(found)


def _content_alone(video: VideoPath) -> str:
    try:
        if not video.is_folder:
            return sha256_of_file(video.path)
        return sha256_hex(canonical_json([[path.name, sha256_of_file(path)] for path in picture_files(video.path)]))
    except OSError as error:
        raise VideoFault(Reason.UNREADABLE, f"it cannot be opened: {error.strerror}") from None


def _number(found: object) -> int:
    return int.from_bytes(hashlib.blake2b(canonical_json(found), digest_size=7).digest())


def _size_and_time(path: os.PathLike[str]) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - follows links, as reading does
    if not stat.S_ISREG(status.st_mode):
        raise VideoFault(Reason.REFUSED, "it is no file (a pipe, socket or device)")
    return status.st_size, status.st_mtime_ns
