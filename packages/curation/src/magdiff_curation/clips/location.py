"""Where things lie, as text: a path on a file system that all workers see, or an s3:// URL.

What lies on S3 is a `UPath`: pathlib's methods over fsspec, so callers see paths and nothing else. It is annotated
as `Path` though it is none. Packages for S3 are optional (`magdiff-curation[s3]`) and imported when a URL comes.
Endpoint and credentials are read from the environment, as AWS's own tools read them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import cast

S3 = "s3://"


def location(text: str | Path) -> Path:
    """Return the path that a text names, be it s3://bucket/key, or that as pathlib prints it (s3:/bucket/key).

    Raises:
        ValueError: another kind of URL, no bucket, a name that fsspec would take for two, or packages are missing.
    """
    scheme, colon, rest = str(text).partition(":/")
    if not colon or len(scheme) < 2 or not scheme.isalnum():
        return Path(text)
    rest = rest.lstrip("/")
    if scheme != "s3" or not rest or "::" in rest:
        raise ValueError(f"{text}: give a local path or s3://bucket/key, with no '::' in it; mount other stores")
    if not all(map(importlib.util.find_spec, ("upath", "s3fs"))):
        raise ValueError(f"{text}: S3 needs more packages: pip install 'magdiff-curation[s3]'")
    from upath import UPath

    # Several processes write: a listing that fsspec remembered would be out of date.
    return cast(Path, UPath(S3 + rest, use_listings_cache=False))


def is_remote(path: Path) -> bool:
    """Return whether a path lies on an object store."""
    return not isinstance(path, Path)
