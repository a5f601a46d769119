"""What makes a folder valid: `manifest.json` lists the size and SHA-256 of its other files, and its own hash.

`check` reads every byte. `still_valid` reads a folder only once in a process, since rotation asks it of the same few
checkpoints at every save, and each may be 10 GB: of what this process wrote, and so read back for the hashes, or has
checked before, it looks at the manifest and the files' sizes. A byte that rots after that is found by the next `check`,
before a run goes on from it, and the folder counts no more.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magdiff_curation.clips.atomic import canonical_json, sha256_hex, sha256_of_file

MANIFEST = "manifest.json"

_read: dict[Path, str] = {}
"""Folders whose every byte this process has found right, with the hash of the manifest that was there then."""


def flush_and_hash(path: Path) -> dict[str, Any]:
    """See a file onto the disk, and return what the manifest says of it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def write(folder: Path, step: int, files: dict[str, dict[str, Any]]) -> None:
    """Write the manifest of a folder, name -> what `flush_and_hash` returned, and see it onto the disk."""
    (folder / MANIFEST).write_bytes(_manifest({"files": files, "step": step}))
    flush(folder / MANIFEST)
    flush(folder)


def check(folder: Path, step: int) -> list[str]:
    """Return the names of a folder's files once every byte is found as it was written; sizes before hashes.

    Raises:
        ValueError: the first file that is not, and what is wrong with it.
    """
    _read.pop(folder, None)
    raw, files = _listed(folder, step)
    for name, written in files.items():
        with _named(name):
            found = sha256_of_file(folder / name)
        if found != written["sha256"]:
            raise ValueError(f"{name}: sha256 differs, {found[:12]} instead of {written['sha256'][:12]}")
    _read[folder] = sha256_hex(raw)
    return list(files)


def still_valid(folder: Path, step: int) -> bool:
    """Return whether a folder is as it was written, without its bytes where this process has read them before."""
    try:
        raw, _ = _listed(folder, step)
        if _read.get(folder) != sha256_hex(raw):
            check(folder, step)
    except ValueError:
        return False
    return True


def note_written(folder: Path) -> None:
    """Have `still_valid` know a folder that this process wrote, under the name that it has now."""
    _read[folder] = sha256_hex((folder / MANIFEST).read_bytes())


def same(folder: Path, other: Path) -> bool:
    """Return whether the manifests of two folders say the same."""
    return (folder / MANIFEST).read_bytes() == (other / MANIFEST).read_bytes()


def flush(path: Path) -> None:
    """See a file, or a folder's list of names, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _listed(folder: Path, step: int) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """Return a manifest's bytes and the files that it lists, which are there and have their sizes."""
    with _named(MANIFEST):
        raw = (folder / MANIFEST).read_bytes()
    content = _content(raw)
    if content is None:
        raise ValueError(f"{MANIFEST}: unreadable, its {len(raw)} bytes are not those that were written")
    if content["step"] != step:
        raise ValueError(f"{MANIFEST}: of step {content['step']}")
    files: dict[str, dict[str, Any]] = content["files"]
    for name, written in files.items():
        with _named(name):
            size = (folder / name).stat().st_size
        if size != written["bytes"]:
            change = "truncated" if size < written["bytes"] else "grown"
            raise ValueError(f"{name}: {change} to {size} of {written['bytes']} bytes")
    return raw, files


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(f"{name}: missing") from error
    except OSError as error:
        raise ValueError(f"{name}: cannot be read, {error.strerror}") from error


def _manifest(content: dict[str, Any]) -> bytes:
    return canonical_json({**content, "sha256": sha256_hex(canonical_json(content))})


def _content(raw: bytes) -> dict[str, Any] | None:
    """Return what a manifest says; None unless it is, byte for byte, what `_manifest` makes of that."""
    try:
        content = json.loads(raw)
        if not isinstance(content, dict):
            return None
        content.pop("sha256", None)
        return content if raw == _manifest(content) else None
    except ValueError:
        return None
