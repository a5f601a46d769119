"""The one way a result is written: whole or not at all.

On a file system: a temporary file beside the target is written, flushed to disk, renamed over the target, and the
directory entry is flushed too. A crash at any moment leaves the old file, the new file, or a stray `*.tmp` that no
reader looks at. Two flushes cost a few milliseconds a file. On an object store: one put, which is whole by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from magdiff_curation.clips import stores
from magdiff_curation.clips.location import is_remote

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file that becomes `path` when the block ends without an error, and vanishes otherwise.

    What goes to an object store waits in a local temporary file until it is complete.
    """
    if is_remote(path):
        with tempfile.NamedTemporaryFile() as file:
            yield file
            file.flush()
            stores.put_file(path, Path(file.name))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_directory(path.parent)


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    if is_remote(path):
        stores.put(path, content)
        return
    with atomic_file(path) as file:
        file.write(content)


def create_exclusive(path: Path, content: bytes) -> bool:
    """Write `content` to `path` unless something is there; of several who try at once one succeeds, and is told so.

    On an object store a winner whose answer got lost on the way, and who asked again, is told False: whoever must
    know reads what is there.
    """
    if is_remote(path):
        return stores.put_new(path, content)
    temporary = _temporary(path)
    try:
        write_atomic(temporary, content)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    _flush_directory(path.parent)
    return True


def replace_if_unchanged(path: Path, content: bytes, seen: bytes | None) -> bool:
    """Write `content` to `path` if that still holds `seen` (None: if nothing is there), and return whether it did.

    On S3 the store compares as it writes. On a file system this looks and then renames, so two that come within
    that moment both write: there, something else must see to it that one process writes at a time.
    """
    if seen is None:
        return create_exclusive(path, content)
    if is_remote(path):
        return stores.put_over(path, content, seen)
    try:
        if path.read_bytes() != seen:
            return False
    except FileNotFoundError:
        return False
    write_atomic(path, content)
    return True


def read_many(paths: Sequence[Path]) -> list[bytes]:
    """Return the contents of files, in their order; those of one object store are fetched many at a time.

    Raises:
        FileNotFoundError: one is missing; `filename` says which.
    """
    if any(map(is_remote, paths)):
        return stores.get_many(paths)
    return [path.read_bytes() for path in paths]


def remove_many(paths: Sequence[Path]) -> None:
    """Delete files that may be gone already; those of one object store a thousand a request."""
    if paths and is_remote(paths[0]):
        stores.remove_many(paths)
        return
    for path in paths:
        path.unlink(missing_ok=True)


def read_range(path: Path, offset: int, length: int) -> bytes:
    """Return `length` bytes of a file from `offset` on, without fetching the rest."""
    if is_remote(path):
        return stores.get_range(path, offset, length)
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def list_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the files below a folder, name -> size in bytes and time in nanoseconds; none where there is no folder."""
    if is_remote(folder):
        return stores.listing(folder)
    found = {}
    for path in folder.rglob("*"):
        if not path.name.endswith(TEMPORARY_SUFFIX):
            try:
                if path.is_file():
                    status = path.stat()
                    found[path.relative_to(folder).as_posix()] = (status.st_size, status.st_mtime_ns)
            except FileNotFoundError:
                continue  # gone since it was listed
    return found


def remove_temporaries(directory: Path) -> int:
    """Delete what killed writers left below `directory` and return how many files that were; stores keep none."""
    if is_remote(directory):
        return 0
    strays = list(directory.rglob(f".*{TEMPORARY_SUFFIX}"))
    for stray in strays:
        stray.unlink(missing_ok=True)
    return len(strays)


def canonical_json(value: object) -> bytes:
    """Return the one JSON form of a value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(content: bytes) -> str:
    """Return the SHA-256 of `content`, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}")


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
