"""Where things lie, as text: a path on a file system that all workers see."""

from __future__ import annotations

from pathlib import Path


def location(text: str | Path) -> Path:
    """Return the path that a text names.

    Raises:
        ValueError: it names a place on an object store, which only mounted file systems can reach for now.
    """
    scheme, colon, _ = str(text).partition(":/")
    if colon and len(scheme) > 1 and scheme.isalnum():
        raise ValueError(f"{text}: object stores cannot be read or written yet; mount it, or give a local path")
    return Path(text)
