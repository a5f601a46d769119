"""One extractor's features in one growing pair of files: numbers in `<key>.bin`, a JSON line a video in `<key>.jsonl`.

Numbers are on disk before the line that tells of them, and a line's checksum covers them and all else that it says.
What a kill left torn is passed over; so is a row that a bad disk has changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from magdiff_curation.clips.atomic import canonical_json
from magdiff_eval.scoring.extractors import Features
from magdiff_eval.scoring.faults import Fault
from magdiff_eval.scoring.lines import append_lines, read_lines


@dataclass(frozen=True, slots=True)
class Place:
    """Where the features of one video are."""

    path: Path
    offset: int
    dtype: str
    shape: tuple[int, ...]

    def read(self, file: BinaryIO) -> Features:
        """Return the features from the opened `path`."""
        file.seek(self.offset)
        content = file.read(int(np.dtype(self.dtype).itemsize * np.prod(self.shape)))
        features: Features = np.frombuffer(content, self.dtype).reshape(self.shape)
        return features


class FeatureFile:
    """The pair of files for `key` in a folder; there need be none yet."""

    def __init__(self, folder: Path, key: str) -> None:
        self.numbers, self.lines = folder / f"{key}.bin", folder / f"{key}.jsonl"

    def entries(self) -> Iterator[tuple[str, Place | Fault | None]]:
        """Yield every row's content, and where its features are, or its fault, or None where its checksum is wrong."""
        if not self.numbers.is_file():
            return
        with self.numbers.open("rb") as file:
            for line in read_lines(self.lines):
                try:
                    yield line["content"], self._entry(line, file)
                except (KeyError, TypeError, ValueError):
                    yield str(line.get("content")), None

    def append(self, found: Mapping[str, Features | Fault]) -> dict[str, Place | Fault]:
        """Add features [items, ...] or faults by content, on disk before this returns; return their entries.

        Anything but float64 is kept as float32. Only one process may append; `lines.sole_writer` sees to that.
        """
        lines, entries = list[dict[str, Any]](), dict[str, Place | Fault]()
        with self.numbers.open("ab") as file:
            for content, value in found.items():
                line: dict[str, Any] = {"content": content}
                packed = b""
                if isinstance(value, Fault):
                    entries[content] = value
                    line["fault"] = value.row()
                else:
                    kept = np.ascontiguousarray(value, "<f8" if value.dtype == np.float64 else "<f4")
                    packed, place = kept.tobytes(), Place(self.numbers, file.tell(), kept.dtype.str, kept.shape)
                    entries[content] = place
                    line |= {"offset": place.offset, "dtype": place.dtype, "shape": list(place.shape)}
                file.write(packed)
                lines.append(line | {"checksum": _checksum(line, packed)})
            file.flush()
            os.fsync(file.fileno())
        append_lines(self.lines, lines)
        return entries

    def _entry(self, line: dict[str, Any], file: BinaryIO) -> Place | Fault | None:
        said = {name: value for name, value in line.items() if name != "checksum"}
        if "fault" in line:
            return Fault.of_row(line["fault"]) if line["checksum"] == _checksum(said, b"") else None
        place = Place(self.numbers, line["offset"], line["dtype"], tuple(line["shape"]))
        return place if line["checksum"] == _checksum(said, place.read(file).tobytes()) else None


def _checksum(said: dict[str, Any], packed: bytes) -> str:
    return hashlib.blake2b(canonical_json(said) + packed, digest_size=8).hexdigest()
