"""Files on web servers, read only, with Python's own client: whole, by range, or from a byte on.

A server that does not know ranges answers with the whole file: callers are told where an answer starts. Whatever goes
wrong is an OSError that names the address.
"""

from __future__ import annotations

import errno
import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_AT_ONCE = 16
_PIECE = 2**20
_SECONDS = 60
"""Without a byte, after which a connection is given up."""
_NUMBERS = {401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT, 410: errno.ENOENT}
"""What of HTTP's codes the system has a number, and Python an exception, for."""


def get_many(paths: Sequence[Path]) -> list[bytes]:
    """Return the contents of files, several at a time."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(_get, paths))


def get_range(path: Path, offset: int, length: int) -> bytes:
    """Return `length` bytes of a file from `offset` on."""
    if not length:
        return b""
    with _named(path), _ask(path, f"bytes={offset}-{offset + length - 1}") as answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            raise OSError(errno.EOPNOTSUPP, "the server does not answer with ranges", str(path))
        return bytes(answer.read(length))


def pieces_from(path: Path, offset: int) -> tuple[int, Iterator[bytes]]:
    """Return where the server starts, at `offset` or at 0, and the pieces from there on."""
    with _named(path):
        answer = _ask(path, f"bytes={offset}-" if offset else None)
    return offset if answer.status == http.client.PARTIAL_CONTENT else 0, _pieces(path, answer)


def _pieces(path: Path, answer: Any) -> Iterator[bytes]:
    with _named(path), answer:
        while piece := answer.read(_PIECE):
            yield piece


def _get(path: Path) -> bytes:
    with _named(path), _ask(path, None) as answer:
        return bytes(answer.read())


def _ask(path: Path, byte_range: str | None) -> Any:
    # Names may hold spaces and other letters; what is quoted already stays so.
    url = urllib.parse.quote(str(path), safe="%/:@!$&'()*+,;=~[]")
    request = urllib.request.Request(url, headers={"Range": byte_range} if byte_range else {})  # noqa: S310 - is_web
    return urllib.request.urlopen(request, timeout=_SECONDS)  # noqa: S310


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        number = _NUMBERS.get(error.code, errno.EIO)
        raise OSError(number, f"HTTP {error.code} {error.reason}", str(path)) from error
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "filename", None):
            raise
        raise OSError(getattr(error, "errno", None) or errno.EIO, str(error) or repr(error), str(path)) from error
