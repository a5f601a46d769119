"""Near-duplicates: the same footage in another encoding, size, crop or brightness.

A clip's fingerprint is ImageHash's phash (64 bits) of four frames spread evenly over it; two clips are near-duplicates
where few of the 256 bits differ. Measured on 60 toyworld scenes and eight real shots, copies differ in at most 10 bits
when encoded again (crf 28 to 36, or 480 px), 18 when 2 % is cropped around, 22 when 2 % is cropped at the top or
brightness saturates. Of 1.1 million pairs of toyworld scenes (few backgrounds, so hard) the nearest differ in 22; of
real shots in 102. Not found: mirrored copies, copies cut to other times. Near: one still shot's consecutive pieces.

The search is exact and not quadratic: bits are dealt to so many bands that two fingerprints within the distance differ
by one bit at most in one band at least (pigeonhole), so only those that share a band, or all of it but one bit, are
compared. Clips are taken in order and compared with kept ones alone, so that a thousand copies cost no more than a
thousand others. 100,000 clips take 6 s and 300 MB on one core; the cost grows fast with distances past 30.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from magdiff_curation.clips.masks import Frames

NUM_FRAMES = 4
_NUM_BITS = 64 * NUM_FRAMES


@dataclass(frozen=True, kw_only=True)
class DuplicateSettings:
    """What counts as the same footage."""

    method: Literal["none", "phash"] = "none"
    """"phash" drops clips that look as one kept already; "none" drops only those of the same bytes and span."""
    max_distance: int = 20
    """Clips whose fingerprints differ in at most this many of 256 bits are the same."""


def fingerprint(frames: Frames) -> str:
    """Return what a clip looks like, 64 hexadecimal digits, from its RGB frames, uint8 [F, H, W, 3]."""
    import imagehash
    from PIL import Image

    chosen = ((2 * part + 1) * len(frames) // (2 * NUM_FRAMES) for part in range(NUM_FRAMES))
    return "".join(str(imagehash.phash(Image.fromarray(frames[index]))) for index in chosen)


def distance(left: str, right: str) -> int:
    """Return in how many bits two fingerprints differ, 0 to 256."""
    return (int(left, 16) ^ int(right, 16)).bit_count()


def near_duplicates(
    fingerprints: Mapping[str, str], settings: DuplicateSettings, already_kept: Collection[str] = ()
) -> dict[str, str]:
    """Return each dropped clip's key with the key of the kept clip that it repeats.

    Keys are taken in order, those already kept first; a clip is dropped where a kept one lies within the distance, and
    the first such one is named. So the result does not depend on the order of the mapping, every dropped clip is near
    a kept one, and no two kept ones are near each other but those already kept.

    Args:
        fingerprints: key -> fingerprint, of new clips and of those already kept.
        settings: the distance.
        already_kept: keys that are never dropped.

    Raises:
        ValueError: a fingerprint is malformed, or the distance is not within the bits.
    """
    limit = settings.max_distance
    if settings.method == "none":
        return {}
    if not 0 <= limit < _NUM_BITS:
        raise ValueError(f"max_distance is {limit}; it must be 0 to {_NUM_BITS - 1}")
    values = {key: _value(key, text) for key, text in fingerprints.items()}
    fixed = set(already_kept)
    kept: list[tuple[str, int]] = []
    bands = [_Band(shift=shift, width=width) for shift, width in _bands(limit)]
    dropped: dict[str, str] = {}
    for key in sorted(values, key=lambda key: (key not in fixed, key)):
        value = values[key]
        if key not in fixed:
            places = [place for band in bands for bucket in band.near(value) for place in bucket]
            near = [place for place in places if (value ^ kept[place][1]).bit_count() <= limit]
            if near:
                dropped[key] = kept[min(near)][0]
                continue
        for band in bands:
            band.add(value, len(kept))
        kept.append((key, value))
    return dropped


class _Band:
    """Some neighbouring bits of all kept fingerprints, and which of them have which."""

    def __init__(self, *, shift: int, width: int) -> None:
        self.shift, self.mask = shift, (1 << width) - 1
        self.flips = [0, *(1 << bit for bit in range(width))]
        self.places: dict[int, list[int]] = {}

    def add(self, value: int, place: int) -> None:
        self.places.setdefault(value >> self.shift & self.mask, []).append(place)

    def near(self, value: int) -> list[list[int]]:
        """Return the places of those whose bits here are the same, or the same but one."""
        places, bits = self.places, value >> self.shift & self.mask
        return [places[bits ^ flip] for flip in self.flips if bits ^ flip in places]


def _bands(limit: int) -> list[tuple[int, int]]:
    # Two different bits in each of limit // 2 + 1 bands would be more than `limit`.
    count = limit // 2 + 1
    bounds = [_NUM_BITS * band // count for band in range(count + 1)]
    return [(start, stop - start) for start, stop in itertools.pairwise(bounds)]


def _value(key: str, text: str) -> int:
    if not re.fullmatch(rf"[0-9a-f]{{{_NUM_BITS // 4}}}", text):
        raise ValueError(f"the fingerprint of {key} is {text[:80]!r}, not {_NUM_BITS // 4} hexadecimal digits")
    return int(text, 16)
