"""Files of JSON lines that only grow: what a killed writer leaves is a line without an end, which nobody reads.

One process writes a folder at a time, which a lock on `.lock` there sees to; the system frees it however the process
ends. Lines are on disk when `append` returns: one flush a call, so give it many.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magdiff_curation.clips.atomic import canonical_json


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made, for this process's writing as long as the block lasts.

    Raises:
        ValueError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(
                f"another process writes into {folder}: wait for its end, or choose another folder"
            ) from error
        yield


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a file, none where there is no file; a line that is no JSON object counts as lost."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


def append_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    """Add lines, on disk before this returns, after the last whole one: an unfinished line is cut off first."""
    content = b"".join(canonical_json(value) + b"\n" for value in values)
    if not content:
        return
    with path.open("a+b") as file:
        _cut_unfinished(file.fileno())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _cut_unfinished(descriptor: int) -> None:
    end = size = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - 2**16)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
