"""What identifies a model that lies in a folder: a digest of its configuration and weights, a second a gigabyte."""

from __future__ import annotations

import hashlib
from pathlib import Path

DIGEST_DIGITS = 12
_WEIGHTS_SUFFIXES = (".safetensors", ".pth")


def model_digest(path: Path) -> str:
    """Return the digest of a weights file, or of a folder's `config.json` and weights, 12 hexadecimal digits."""
    files = (
        [path]
        if path.is_file()
        else sorted(file for file in path.iterdir() if file.name == "config.json" or file.suffix in _WEIGHTS_SUFFIXES)
    )
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:DIGEST_DIGITS]
