"""Deterministic tars of clips, and the reader that refuses what their index does not vouch for.

The same samples give the same bytes: fixed header fields, members in one order, nothing of the clock or the
user. Plain `webdataset` reads the result. A tar cut anywhere, or with one byte changed anywhere, is refused by
name: samples by their digests, the rest because only zeros may follow the last sample. Writing streams.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from magdiff_curation.clips.atomic import atomic_file, read_range, sha256_hex, write_atomic
from magdiff_curation.clips.foreign import unpack_members
from magdiff_curation.clips.index import SampleEntry, ShardError, ShardIndex, index_path, load_index
from magdiff_curation.clips.record import MEMBERS, Clip

MOST_SAMPLE_BYTES = 2**30
"""Largest sample of other people's shards that is read into memory."""
_END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)


def pack_sample(key: str, members: Mapping[str, bytes]) -> bytes:
    """Return a sample's stretch of a tar: for each member a header and its padded content.

    Raises:
        ValueError: an empty key or one with a dot or a slash (they would split the sample), or no members.
    """
    if not key or "." in key or "/" in key or not members:
        raise ValueError(f"a sample needs members and a key without dots or slashes, got {key!r}: {list(members)}")
    packed = bytearray()
    for extension in sorted(members):
        content = members[extension]
        header = tarfile.TarInfo(f"{key}.{extension}")
        header.size, header.mode = len(content), 0o644
        packed += header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
    return bytes(packed)


def unpack_sample(packed: bytes) -> tuple[str, dict[str, bytes]]:
    """Return a packed sample's key and its members, extension -> bytes.

    Raises:
        ValueError: not the stretch of one sample, or a member that the schema does not list.
    """
    members: dict[str, bytes] = {}
    keys = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(packed + _END_OF_ARCHIVE), mode="r:") as archive:
            for header in archive:
                key, _, extension = header.name.partition(".")
                content = archive.extractfile(header)
                if content is None or extension not in MEMBERS or extension in members:
                    raise ValueError(f"unexpected member {header.name!r}; a sample has {', '.join(MEMBERS)}, once each")
                keys.add(key)
                members[extension] = content.read()
    except tarfile.TarError as error:
        raise ValueError(f"not a stretch of a tar: {error}") from error
    if len(keys) != 1:
        raise ValueError(f"one sample has one key, found {sorted(keys)}")
    return keys.pop(), members


def write_shard(path: Path, samples: Iterable[tuple[str, bytes]]) -> ShardIndex:
    """Write packed samples as a tar and then its index, each atomically, and return the index."""
    entries: list[SampleEntry] = []
    digest = hashlib.sha256()
    position = 0
    with atomic_file(path) as file:
        for key, packed in samples:
            entries.append(SampleEntry(key=key, offset=position, length=len(packed), sha256=sha256_hex(packed)))
            position += len(packed)
            digest.update(packed)
            file.write(packed)
        digest.update(_END_OF_ARCHIVE)
        file.write(_END_OF_ARCHIVE)
    size = position + len(_END_OF_ARCHIVE)
    index = ShardIndex(shard=path.name, size=size, sha256=digest.hexdigest(), samples=tuple(entries))
    write_atomic(index_path(path), index.to_json())
    return index


OpenCopy = Callable[[Path, ShardIndex], IO[bytes]]
"""Opens a copy of a tar that has been checked against its index, on this node."""


class ShardReader:
    """Reads the clips of one tar, each checked against the index.

    Args:
        path: the tar; errors name it.
        index: what lies beside it, where that has been read already.
        open_copy: reads go to what this opens, each time anew, instead of to the tar.

    Raises:
        ShardError: on opening, where the index is missing or damaged or the tar's size or ending is not what it
            says (with `open_copy`, whoever made the copy has seen to that); on reading, where a sample's bytes are not
            those that were indexed.
    """

    def __init__(self, path: Path, index: ShardIndex | None = None, open_copy: OpenCopy | None = None) -> None:
        self.path = path
        self.index = load_index(path) if index is None else index
        self._open_copy = open_copy
        self._entries = {entry.key: entry for entry in self.index.samples}
        if open_copy is None:
            self._check_ends()

    def _check_ends(self) -> None:
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            raise ShardError(f"{self.path} is missing; its index is there") from None
        if size != self.index.size:
            raise ShardError(f"{self.path} has {size} bytes, its index says {self.index.size}: cut or overwritten")
        end = sum(entry.length for entry in self.index.samples)
        if self._read(end, size - end) != bytes(size - end):
            raise ShardError(f"{self.path} is damaged: something other than zeros follows its last sample")

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self) -> list[str]:
        """Return the keys in the tar's order."""
        return list(self._entries)

    def read(self, key: str) -> Clip:
        """Return one clip."""
        packed = self._packed(key)
        found, members = unpack_sample(packed)
        if found != key:
            raise ShardError(f"{self.path}: the index calls clip {found} {key}")
        return Clip.from_members(members)

    def members(self, key: str) -> dict[str, bytes]:
        """Return a sample's members as they are, extension -> content: for shards that are not curation's.

        Raises:
            ShardError: no such sample, a damaged one, or one of over a gibibyte.
        """
        return unpack_members(io.BytesIO(self._packed(key, MOST_SAMPLE_BYTES) + _END_OF_ARCHIVE), key, str(self.path))

    def __iter__(self) -> Iterator[Clip]:
        return (self.read(key) for key in self._entries)

    def _packed(self, key: str, most_bytes: int | None = None) -> bytes:
        entry = self._entries.get(key)
        if entry is None:
            raise ShardError(f"{self.path} has no clip {key!r}")
        if most_bytes is not None and entry.length > most_bytes:
            raise ShardError(f"{self.path}: the sample {key!r} has {entry.length} bytes, over {most_bytes}")
        packed = self._read(entry.offset, entry.length)
        if sha256_hex(packed) != entry.sha256:
            raise ShardError(
                f"{self.path} is damaged: clip {key} (bytes {entry.offset} to "
                f"{entry.offset + entry.length}) is not what was indexed"
            )
        return packed

    def _read(self, offset: int, length: int) -> bytes:
        if self._open_copy is None:
            return read_range(self.path, offset, length)
        with self._open_copy(self.path, self.index) as file:
            file.seek(offset)
            return file.read(length)
