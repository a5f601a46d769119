"""Where things lie, as text: a path on a file system that all workers see, an s3:// URL, or, to read, an http one.

What lies elsewhere is a `UPath`: pathlib's methods over fsspec, so callers see paths and nothing else. It is annotated
as `Path` though it is none. Packages for URLs are optional (`magdiff-curation[s3]`) and imported when one comes.
Endpoint and credentials of S3 are read from the environment, as AWS's own tools read them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import cast

S3 = "s3://"
_WEB = ("http", "https")


def location(text: str | Path, *, web: bool = False) -> Path:
    """Return the path that a text names, be it s3://bucket/key, or that as pathlib prints it (s3:/bucket/key).

    Args:
        text: a local path or a URL.
        web: take http:// and https:// too, where nothing is going to be written or listed.

    Raises:
        ValueError: another kind of URL, no bucket, a name that fsspec would take for two, or packages are missing.
    """
    scheme, colon, rest = str(text).partition(":/")
    if not colon or len(scheme) < 2 or not scheme.isalnum():
        return Path(text)
    rest = rest.lstrip("/")
    if scheme in _WEB and web:
        if not rest or set("?#") & set(rest) or "::" in rest:
            raise ValueError(f"{text}: a web address needs a host, and no query, fragment or '::'")
        return _remote(f"{scheme}://{rest}".rstrip("/"), "upath")
    if scheme != "s3" or not rest or "::" in rest:
        also = ", or http(s)://host/path" if web else ""
        raise ValueError(f"{text}: give a local path or s3://bucket/key, with no '::' in it{also}; mount other stores")
    return _remote(S3 + rest, "upath", "s3fs")


def is_remote(path: Path) -> bool:
    """Return whether a path lies on an object store or a web server."""
    return not isinstance(path, Path)


def is_web(path: Path) -> bool:
    """Return whether a path lies on a web server, which is only read from."""
    return is_remote(path) and getattr(path, "protocol", "") in _WEB


def _remote(url: str, *packages: str) -> Path:
    if not all(map(importlib.util.find_spec, packages)):
        raise ValueError(f"{url}: URLs need more packages: pip install 'magdiff-curation[s3]'")
    from upath import UPath

    # Several processes write: a listing that fsspec remembered would be out of date.
    return cast(Path, UPath(url, use_listings_cache=False))
