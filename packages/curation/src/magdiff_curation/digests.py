"""What identifies a model that lies in a folder: a digest of every file in it; a second a gigabyte, once a process."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

DIGEST_DIGITS = 12


def model_digest(path: Path) -> str:
    """Return the digest of a weights file, or of all files in a folder, 12 hexadecimal digits.

    All of them, since a tokenizer or a processor changes what a model says as much as its weights do.
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    stats = [(file, file.stat()) for file in files]
    return _digest(tuple((file, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for file, stat in stats))


@functools.lru_cache(maxsize=64)
def _digest(files: tuple[tuple[Path, int, int, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for file, *_ in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:DIGEST_DIGITS]
