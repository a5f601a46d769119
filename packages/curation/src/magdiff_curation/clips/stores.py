"""What clips ask of an object store, each in as few requests as it takes, through fsspec; web servers are read from.

A put is atomic: readers see the old object or the new one. Conditional puts (If-None-Match, If-Match) make it
exclusive; AWS, MinIO, Ceph and R2 know them. Whatever goes wrong is an OSError that names the object.
"""

from __future__ import annotations

import errno
import itertools
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magdiff_curation.clips import web
from magdiff_curation.clips.location import S3, is_remote, is_web, location

BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}")
"""The form of a bucket's name, as boto checks it."""
_CONFLICTS = frozenset({"409", "ConditionalRequestConflict", "OperationAborted"})
_REFUSALS = frozenset({"412", "PreconditionFailed", "NoSuchKey"})
_TRIES = 6
_MOST_DELETED = 1000  # that S3 takes in one request
_PIECE = 2**25


def put(path: Path, content: bytes) -> None:
    """Write an object."""
    store, key = _store(path)
    with _named(path):
        store.pipe_file(key, content)


def put_file(path: Path, local: Path) -> None:
    """Write an object from a file, a large one in parts that appear together."""
    store, key = _store(path)
    with _named(path):
        store.put_file(str(local), key)


def put_new(path: Path, content: bytes) -> bool:
    """Write an object unless there is one, and return whether it was written."""
    return _put_if(path, content, mode="create")


def put_over(path: Path, content: bytes, seen: bytes) -> bool:
    """Write an object over one that holds `seen`, and return whether it was written."""
    store, key = _store(path)
    try:
        with _named(path):
            tag = store.info(key)["ETag"]  # before the content: if that is of a later version, the put is refused
        if get_many([path]) != [seen]:
            return False
    except FileNotFoundError:
        return False
    return _put_if(path, content, IfMatch=tag)


def get_many(paths: Sequence[Path]) -> list[bytes]:
    """Return the contents of files, those that lie together in one store many at a time, one request each."""
    return [content for _, some in itertools.groupby(paths, type) for content in _get_together(list(some))]


def _get_together(paths: Sequence[Path]) -> list[bytes]:
    if not is_remote(paths[0]):
        return [path.read_bytes() for path in paths]
    if is_web(paths[0]):
        return web.get_many(paths)
    store = _store(paths[0])[0]
    keys = [_store(path)[1] for path in paths]
    # cat_ranges, as cat would take * and ? in names for patterns; one part each, or s3fs asks for the size first
    with _named(paths[0]):
        found = store.cat_ranges(keys, None, None, on_error="return", max_concurrency=1)
    for path, content in zip(paths, found, strict=True):
        if isinstance(content, BaseException):
            with _named(path):
                raise content
    return list(found)


def remove_many(paths: Sequence[Path]) -> None:
    """Delete objects of one bucket, which may be gone already."""
    from fsspec.asyn import sync

    store, keys = _store(paths[0])[0], [_store(path)[1] for path in paths]
    with _named(paths[0]):
        for first in range(0, len(keys), _MOST_DELETED):  # rm would take * and ? in names for patterns
            sync(store.loop, store._bulk_delete, keys[first : first + _MOST_DELETED])


def get_range(path: Path, offset: int, length: int) -> bytes:
    """Return `length` bytes of an object from `offset` on."""
    if is_web(path):
        return web.get_range(path, offset, length)
    store, key = _store(path)
    with _named(path):
        return bytes(store.cat_file(key, start=offset, end=offset + length)) if length else b""


def pieces_from(path: Path, offset: int, size: int) -> tuple[int, Iterator[bytes]]:
    """Return where an answer starts, at `offset` or at 0 from a server without ranges, and its pieces from there."""
    if is_web(path):
        return web.pieces_from(path, offset)
    return offset, (get_range(path, start, min(_PIECE, size - start)) for start in range(offset, size, _PIECE))


def matches(pattern: Path) -> list[Path]:
    """Return what in an object store matches a path with *, ? or [ in it, in order."""
    store, key = _store(pattern)
    with _named(pattern):
        return [location(S3 + found) for found in sorted(store.glob(key))]


def get_file(url: str, local: Path) -> None:
    """Write an object, whatever characters its key has, to a local file."""
    bucket, _, key = url.removeprefix(S3).partition("/")
    if not key or not BUCKET.fullmatch(bucket):
        raise FileNotFoundError(errno.ENOENT, "not s3://bucket/key", url)
    root: Any = location(S3 + bucket)  # a URL with '::' in its key would be taken for two
    with _named(url):
        root.fs.get_file(f"{bucket}/{key}", str(local))


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the objects below a folder from one listing: name below it -> size in bytes and time in nanoseconds.

    Times are whole seconds, which is all that some requests tell.
    """
    return {
        name: (info["size"], int(info["LastModified"].timestamp()) * 10**9)
        for name, info in _found(folder).items()
        if name
    }


def versions(path: Path) -> dict[str, tuple[int, str]]:
    """Return the objects below a path from one listing: name below it -> size in bytes and ETag.

    Where there are none, the object at the path itself, if there is one; its name is "".
    """
    return {name: (info["size"], info["ETag"]) for name, info in _found(path).items()}


def _found(path: Path) -> dict[str, Any]:
    store, key = _store(path)
    key = key.rstrip("/")
    with _named(path):
        found = store.find(key + "/", detail=True)
    below = {name.removeprefix(key + "/"): info for name, info in found.items() if name.startswith(key + "/")}
    files = {name: info for name, info in below.items() if not name.endswith("/")}
    return files or ({"": found[key]} if key in found else {})


def _put_if(path: Path, content: bytes, **condition: str) -> bool:
    store, key = _store(path)
    for attempt in range(_TRIES):
        try:
            with _named(path):
                store.pipe_file(key, content, **condition)
            return True
        except OSError as error:
            code = _code(error)
            if code in _REFUSALS:
                return False
            if code not in _CONFLICTS or attempt == _TRIES - 1:
                raise
            time.sleep(0.1 * 2**attempt)  # two at once, and the store has decided for neither
    raise AssertionError("the last try returns or raises")


def _store(path: Path) -> tuple[Any, str]:
    if is_web(path):
        raise OSError(errno.EROFS, "web servers are only read from, and do not list what they have", str(path))
    remote: Any = path
    return remote.fs, str(remote.path)


def _code(error: BaseException | None) -> str:
    """Return what the store called an error; it lies under those that were made of it."""
    while error is not None:
        response = getattr(error, "response", None)
        if response:
            return str(response["Error"]["Code"])
        error = error.__cause__
    return ""


@contextmanager
def _named(path: Path | str) -> Iterator[None]:
    """Raise what goes wrong as an OSError that names the object: s3fs leaves the name out, boto has its own errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, str(error.strerror or error), str(path)) from error
    except PermissionError as error:
        raise PermissionError(errno.EACCES, str(error.strerror or error), str(path)) from error
    except OSError as error:
        raise OSError(error.errno or errno.EIO, str(error.strerror or error), str(path)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("botocore", "aiobotocore", "aiohttp"):
            raise
        raise OSError(errno.EIO, str(error), str(path)) from error
