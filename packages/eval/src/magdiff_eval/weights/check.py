"""Whether a weights file is here and is the published one; it is hashed once, and again when its time or size changes.

What was hashed is remembered in the weights folder's `.sha256.json`, but for files under a megabyte; where that cannot
be written, every process hashes anew, a second a gigabyte.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from magdiff_curation.clips.atomic import sha256_of_file, write_atomic
from magdiff_eval.weights.registry import Choice, WeightsFile

State = Literal["found", "unverified", "wrong size", "wrong sha256", "missing"]
USABLE: tuple[State, ...] = ("found", "unverified")
MEMORY = ".sha256.json"
_REMEMBERED_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What is known of one file on this machine."""

    file: WeightsFile
    state: State
    """unverified: it is here, and no size or hash of it is known to compare with."""
    path: Path
    """Where it is, or where it would be."""
    num_bytes: int | None = None
    sha256: str | None = None
    """Its own; None where it is missing, or its size said enough."""

    def told(self) -> str:
        """Return the state in words, with both values where they differ."""
        if self.state == "wrong size":
            return f"wrong size: {self.num_bytes:,} bytes, not {self.file.num_bytes:,}"
        if self.state == "wrong sha256":
            return f"wrong sha256: {self.sha256}, not {self.file.sha256}"
        return "found, but no published sha256 is known to compare with" if self.state == "unverified" else self.state

    def remedy(self) -> str:
        """Return how to get the file."""
        folder = self.path.parents[self.file.name.count("/")]
        return self.file.source.format(folder=folder) if "{folder}" in self.file.source else self.file.source


def check_file(file: WeightsFile, folder: Path) -> Checked:
    """Return a file's state; where its size is the published one, or none is known, it is hashed."""
    places = [folder / name for name in (file.name, *file.also_called)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return Checked(file=file, state="missing", path=places[0])
    num_bytes = path.stat().st_size
    if file.num_bytes is not None and num_bytes != file.num_bytes:
        return Checked(file=file, state="wrong size", path=path, num_bytes=num_bytes)
    sha256 = sha256_remembered(path, folder)
    state: State = "unverified" if file.sha256 is None else "found" if sha256 == file.sha256 else "wrong sha256"
    return Checked(file=file, state=state, path=path, num_bytes=num_bytes, sha256=sha256)


def check_choice(choice: Choice, folder: Path) -> list[Checked]:
    """Return the state of every file of a choice."""
    return [check_file(file, folder) for file in choice.files]


def first_here(looked: Sequence[tuple[Choice, list[Checked]]]) -> tuple[Choice, list[Checked]] | None:
    """Return the choice that counts: the first all of whose files are here, be they what they should or not.

    To pass over one that is damaged would score with another file than was meant.
    """
    return next((pair for pair in looked if all(one.state != "missing" for one in pair[1])), None)


def is_ready(checked: list[Checked]) -> bool:
    """Return whether all of a choice's files are here, and none differs from the published one."""
    return all(one.state in USABLE for one in checked)


def sha256_remembered(path: Path, folder: Path) -> str:
    """Return a file's SHA-256, from memory where its size and time of change are those of the last time."""
    memory_path, name, status = folder / MEMORY, path.relative_to(folder).as_posix(), path.stat()
    if status.st_size < _REMEMBERED_BYTES:
        return sha256_of_file(path)
    identity = [status.st_size, status.st_mtime_ns]
    memory = _remembered(memory_path)
    match memory.get(name):
        case [size, time_ns, str(known)] if [size, time_ns] == identity:
            return known
    sha256 = sha256_of_file(path)
    with suppress(OSError):  # a folder that others own: nothing is lost but the time to hash again
        write_atomic(memory_path, json.dumps(memory | {name: [*identity, sha256]}, indent=1).encode())
    return sha256


def _remembered(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        content = json.loads(path.read_bytes())
        if isinstance(content, dict):
            return content
    return {}
