"""Tars read strictly and in one pass: what a cut, linked, sparse or damaged tar holds is refused, never guessed.

Python's `tarfile` ends quietly at the first header that it cannot read, so a cut tar looks like a shorter one.
Here a tar ends with two blocks of zeros, and every byte before them belongs to a member. Nothing is extracted.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from magdiff_curation.clips.index import ShardError

BLOCK = tarfile.BLOCKSIZE
_MOST_HEADER_BYTES = 2**20
_PIECE = 2**20


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file or folder of a tar."""

    name: str
    is_folder: bool
    size: int
    """Of its content, in bytes, without padding."""
    headers: bytes
    """Its header as it stands in the tar, with the extended ones before it."""


def next_member(file: IO[bytes], where: str) -> Member | None:
    """Return the member whose headers start here, with the file at its content; None after the first block of zeros.

    Raises:
        ShardError: the tar is cut or damaged here, or the member is neither a plain file nor a folder.
    """
    headers = bytearray()
    long_name, extended = "", dict[str, str]()
    while True:
        block = _exactly(file, BLOCK, where)
        if not any(block) and not headers:
            return None
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ShardError(f"{where} is damaged or no tar: {error} after {file.tell() - BLOCK} bytes") from None
        headers += block
        if header.type not in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
            break
        if not 0 <= header.size <= _MOST_HEADER_BYTES - len(headers):
            raise ShardError(f"{where} is damaged: a header of {header.size} bytes")
        content = _exactly(file, padded(header.size), where)
        headers += content
        content = content[: header.size]
        if header.type == tarfile.GNUTYPE_LONGNAME:
            long_name = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
            continue
        records = _records(content, where)
        if header.type == tarfile.XHDTYPE:
            extended = records
        elif {"path", "size"} & set(records) or any(name.startswith("GNU.sparse") for name in records):
            raise ShardError(f"{where}: a global header names or measures members")
    name = extended.get("path") or long_name or header.name
    size = _number(extended["size"], where) if "size" in extended else header.size
    sparse = any(record.startswith("GNU.sparse") for record in extended)
    if sparse or size < 0 or header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        kind = "sparse" if sparse else f"type {header.type.decode('latin-1')!r}, {size} bytes"
        raise ShardError(f"{where}: {name!r} is a link, a device or otherwise no plain file ({kind})")
    if name.encode(errors="replace").decode() != name:
        raise ShardError(f"{where}: the name {name!r} is not UTF-8")
    is_folder = header.type == tarfile.DIRTYPE
    return Member(name=name, is_folder=is_folder, size=0 if is_folder else size, headers=bytes(headers))


def content_pieces(file: IO[bytes], member: Member, where: str) -> Iterator[bytes]:
    """Yield a member's content with its padding, in pieces.

    Raises:
        ShardError: the tar is cut here.
    """
    left = padded(member.size)
    while left:
        piece = _exactly(file, min(left, _PIECE), where)
        left -= len(piece)
        yield piece


def end_pieces(file: IO[bytes], where: str) -> Iterator[bytes]:
    """Yield what follows the first block of zeros, in pieces.

    Raises:
        ShardError: no second block of zeros, or something other than zeros.
    """
    piece = _exactly(file, BLOCK, where)
    while piece:
        if any(piece):
            raise ShardError(f"{where}: something other than zeros follows the end: two tars in one, or damaged")
        yield piece
        piece = file.read(_PIECE)


def padded(size: int) -> int:
    """Return the bytes that a content of `size` bytes takes in a tar."""
    return size + -size % BLOCK


def _exactly(file: IO[bytes], size: int, where: str) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise ShardError(f"{where} is cut: it ends after {file.tell()} bytes, without a tar's end")
    return content


def _number(digits: str, where: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
        raise ShardError(f"{where} is damaged: a member of {digits[:20]!r} bytes")
    return int(digits)


def _records(content: bytes, where: str) -> dict[str, str]:
    """Return a PAX header's records, each `length name=value` and a newline (POSIX.1-2001)."""
    found = {}
    while content:
        digits, space, _ = content.partition(b" ")
        length = int(digits) if space and digits.isdigit() and len(digits) < 8 else 0
        record = content[len(digits) + 1 : length]
        name, equals, value = record.removesuffix(b"\n").partition(b"=")
        if not equals or not record.endswith(b"\n") or length > len(content):
            raise ShardError(f"{where} is damaged: a PAX record starts with {content[:20]!r}")
        found[name.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        content = content[length:]
    return found
