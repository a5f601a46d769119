"""The log of a batch's folder: a line a row that was tried, added as the row ends; and the folder's lock.

Lines are only ever added, so a run that is killed, at any moment, loses none that was there. A line that was being
written then is cut off by the next run. The lock is the operating system's on this very file: it ends with the process
that holds it, however that ends, and nothing is left to clean up.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

NAME = "batch.jsonl"

Append = Callable[[Mapping[str, Any]], None]


@contextmanager
def batch_log(folder: Path) -> Iterator[Append]:
    """Yield what adds a line to the folder's log, while the folder is this process's alone.

    Raises:
        ValueError: another batch is at work in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    with path.open("ab+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another batch is making videos in {folder}: wait until it ends, or give another --output"
            ) from None
        _end_last_line(file)

        def append(line: Mapping[str, Any]) -> None:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

        yield append


def _end_last_line(file: IO[bytes]) -> None:
    """Cut a line off that was not finished, and end one that only lacks its end, as editors leave it."""
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    try:
        json.loads(content[whole:])
    except ValueError:
        file.truncate(whole)
    else:
        file.write(b"\n")
