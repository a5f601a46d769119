"""A video as a folder of numbered pictures, such as `00000.jpg`, `00001.jpg`, with any one text before the numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image as PillowImage

from magdiff_curation.clips.masks import Image
from magdiff_eval.scoring.faults import Reason, VideoFault
from magdiff_model.media import read_image

SUFFIXES = (".png", ".jpg", ".jpeg")
_NUMBERED = re.compile(r"(.*?)(\d+)\.[^.]+")


def is_frame(name: str) -> bool:
    """Whether a file of this name is a numbered picture."""
    return _is_picture(name) and _NUMBERED.fullmatch(name) is not None


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures in a folder that are not hidden, by name."""
    return sorted(path for path in folder.iterdir() if _is_picture(path.name))


def pictures(folder: Path) -> Iterator[Image]:
    """Yield the pictures of a folder in the order of their numbers, uint8 [H, W, 3].

    Raises:
        VideoFault: numbers that do not follow one another, pictures of several sizes, or one that cannot be read.
    """
    from magdiff_curation.config import LimitSettings

    numbers: dict[int, Path] = {}
    prefixes = set()
    for path in picture_files(folder):
        match = _NUMBERED.fullmatch(path.name)
        if match is None:
            raise VideoFault(Reason.REFUSED, f"{path.name} has no number, the other frames do: move it elsewhere")
        prefixes.add(match[1])
        twin = numbers.setdefault(int(match[2]), path)
        if twin != path and len(prefixes) == 1:
            raise VideoFault(Reason.REFUSED, f"{twin.name} and {path.name} have one number: remove one of them")
    if len(prefixes) > 1:
        raise VideoFault(Reason.REFUSED, f"its pictures are of several series ({sorted(prefixes)}): give each a folder")
    missing = sorted(set(range(min(numbers, default=0), max(numbers, default=0) + 1)) - numbers.keys())
    if numbers and missing:
        raise VideoFault(Reason.FRAMES_MISSING, f"{len(missing)} frames are missing, the first is number {missing[0]}")
    limits, size = LimitSettings(), None
    for _, path in sorted(numbers.items()):
        try:
            with PillowImage.open(path) as header:
                width, height = header.size
            if width * height > limits.max_pixels:
                raise VideoFault(
                    Reason.LIMIT_EXCEEDED, f"{path.name} has {width}x{height} px, more than {limits.max_pixels} pixels"
                )
            image = read_image(path)
        except (OSError, ValueError, PillowImage.DecompressionBombError) as error:
            raise VideoFault(Reason.UNREADABLE, f"{path.name}: {error}") from None
        size = size or image.shape
        if image.shape != size:
            raise VideoFault(
                Reason.REFUSED, f"{path.name} is {image.shape[1]}x{image.shape[0]} px, the first {size[1]}x{size[0]}"
            )
        yield image


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")
