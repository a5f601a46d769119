"""Videos as folders of frames: `00000.jpg`, `00001.jpg`, … and the masks that are named as they are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magdiff_eval.layouts.files import Folder, picture_size
from magdiff_eval.layouts.findings import Findings, some

_SUFFIXES = (".jpg", ".jpeg", ".png")


def sampled_frames(num_frames: int, wanted: int = 8) -> NDArray[np.int64]:
    """Return which frames of a video are taken, int64 [wanted]: evenly spread, the first and the last among them.

    The paper samples eight (Supplement D) and does not say which.

    Raises:
        ValueError: the video has fewer frames.
    """
    if not 1 <= wanted <= num_frames:
        raise ValueError(f"{wanted} frames are wanted of a video of {num_frames}: take a longer video, or fewer frames")
    return np.linspace(0, num_frames - 1, wanted).round().astype(np.int64)


def frame_files(folder: Path) -> list[Path]:
    """Return the numbered pictures of a folder in the order of their numbers."""
    numbered = [path for path in _pictures(folder) if path.stem.isdecimal()]
    return sorted(numbered, key=lambda path: int(path.stem))


def check_frames(folder: Path, wanted: int, findings: Findings) -> dict[Path, tuple[int, int]]:
    """Find what is wrong with a folder of frames; return the frames that can be read and their widths and heights."""
    frames = frame_files(folder)
    if odd := [path.name for path in _pictures(folder) if not path.stem.isdecimal()]:
        findings.fault(f"{folder}: {some(odd)} has no number, as frames do: move it elsewhere")
    if ignored := [path.name for path in Folder(folder).paths if path.suffix.lower() not in _SUFFIXES]:
        findings.note(f"{folder}: {some(ignored)} is no frame, and ignored")
    if not frames:
        findings.fault(f"{folder} has no frames: unpack 00000.jpg, 00001.jpg, … there")
        return {}
    numbers = [int(path.stem) for path in frames]
    gaps = [(a + 1, b - 1) for a, b in pairwise(sorted(set(numbers))) if b > a + 1]
    if gaps:
        missing = [str(first) if first == last else f"{first} to {last}" for first, last in gaps]
        findings.fault(f"{folder}: frame {some(missing)} is missing: unpack the frames again")
    if len({len(path.stem) for path in frames}) > 1 or len(set(numbers)) < len(numbers):
        findings.fault(f"{folder}: the frames' numbers have several lengths or come twice: name them 00000.jpg, …")
    if len(frames) < wanted:
        findings.fault(f"{folder} has {len(frames)} frames, {wanted} are sampled: unpack the frames again")
    read = {path: size for path in frames if (size := picture_size(path, findings))}
    if len(set(read.values())) > 1:
        first_of = {size: path.name for path, size in reversed(read.items())}
        shown = sorted(f"{name} {_px(size)}" for size, name in first_of.items())
        findings.fault(f"{folder}: the frames differ in size ({some(shown)}): write all at one size")
    return read


def check_masks(folder: Path, frames: dict[Path, tuple[int, int]], findings: Findings) -> None:
    """Find masks that are missing, cannot be read, or differ in size from their frames."""
    pairs = [(folder / f"{frame.stem}.png", size) for frame, size in frames.items()]
    if missing := [mask.name for mask, _ in pairs if not mask.is_file()]:
        findings.fault(
            f"{folder}: mask {some(missing)} is missing: unpack the masks again, or remove the folder to have the "
            "subject found by its label"
        )
    for mask, size in pairs:
        found = picture_size(mask, findings) if mask.is_file() else None
        if found and found != size:
            findings.fault(f"{mask} is {_px(found)}, its frame {_px(size)}: cut and scale the masks as the frames are")
            break  # its neighbours are as it is


def _pictures(folder: Path) -> list[Path]:
    return [path for path in Folder(folder).paths if path.suffix.lower() in _SUFFIXES]


def _px(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} px"
