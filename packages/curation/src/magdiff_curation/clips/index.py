"""Shard indexes: what each tar holds, where, and the digests that vouch for it.

Beside `clips-000000.tar` lies `clips-000000.index.json`; one `shards.json` lists the shards of a set with the
digests of their indexes. The chain shards.json -> index -> sample lets a loader order, resume and range-read,
and still check every byte that it uses.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

from magdiff_curation.clips.atomic import canonical_json, read_many, sha256_hex, write_atomic

INDEX_SUFFIX = ".index.json"
SHARD_LIST = "shards.json"
_VERSION = 1
_INDEXES_AT_ONCE = 64


class ShardError(ValueError):
    """A shard, index or list is missing, damaged, or not vouched for; the message names the file."""


@dataclass(frozen=True, kw_only=True)
class SampleEntry:
    """One sample inside a tar: its members' headers and contents, contiguous from `offset`, in bytes."""

    key: str
    offset: int
    length: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """What one tar holds, in order."""

    shard: str
    size: int
    sha256: str
    samples: tuple[SampleEntry, ...]

    def to_json(self) -> bytes:
        """Return the index's one JSON form."""
        return canonical_json({"version": _VERSION, **asdict(self)})


@dataclass(frozen=True, kw_only=True)
class ShardList:
    """The shards of one set, in order, with the digest of each one's index."""

    shards: tuple[str, ...]
    index_sha256: tuple[str, ...]
    num_samples: tuple[int, ...]
    settings_sha256: str

    def to_json(self) -> bytes:
        """Return the list's one JSON form."""
        return canonical_json({"version": _VERSION, **asdict(self)})


def index_path(shard_path: Path) -> Path:
    """Return where the index of a tar lies."""
    return shard_path.with_name(shard_path.name.removesuffix(".tar") + INDEX_SUFFIX)


def load_index(shard_path: Path) -> ShardIndex:
    """Return the index of a tar; see `load_indexes`."""
    return load_indexes([shard_path])[0]


def load_indexes(shard_paths: Sequence[Path]) -> list[ShardIndex]:
    """Return the indexes of tars, checked for form: samples in order, without gap or overlap, unique keys.

    Those in one object store are fetched many at a time.

    Raises:
        ShardError: no index, or a damaged one.
    """
    indexes = []
    for start in range(0, len(shard_paths), _INDEXES_AT_ONCE):
        some = shard_paths[start : start + _INDEXES_AT_ONCE]
        try:
            contents = read_many([index_path(path) for path in some])
        except FileNotFoundError as error:
            raise ShardError(
                f"{str(error.filename).removesuffix(INDEX_SUFFIX)}.tar has no index {PurePath(error.filename).name}: "
                "it was never finished, or other tools wrote it, and `python pipelines/curate.py index FOLDER` has not "
                "indexed it yet"
            ) from None
        indexes += [_checked_index(path, content) for path, content in zip(some, contents, strict=True)]
    return indexes


def _checked_index(shard_path: Path, content: bytes) -> ShardIndex:
    path = index_path(shard_path)
    try:
        value = json.loads(content)
        if value.pop("version") != _VERSION:
            raise ShardError(f"{path} is of another version than {_VERSION}")
        samples = tuple(SampleEntry(**entry) for entry in value.pop("samples"))
        index = ShardIndex(samples=samples, **value)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ShardError(f"{path} is damaged: {error!r}") from error
    position = 0
    for entry in samples:
        if entry.offset != position:
            raise ShardError(f"{path} is damaged: sample {entry.key} starts at {entry.offset}, not {position}")
        position += entry.length
    if index.shard != shard_path.name or len({entry.key for entry in samples}) != len(samples):
        raise ShardError(f"{path} is damaged: it is for {index.shard}, or names a key twice")
    return index


def load_shard_list(directory: Path) -> ShardList:
    """Return the list of a set's shards, after checking each index against its digest.

    Raises:
        ShardError: no list, a damaged one, or an index that it does not vouch for.
    """
    path = directory / SHARD_LIST
    try:
        value = json.loads(read_many([path])[0])
        if value.pop("version") != _VERSION:
            raise ShardError(f"{path} is of another version than {_VERSION}")
        listing = ShardList(
            shards=tuple(value["shards"]),
            index_sha256=tuple(value["index_sha256"]),
            num_samples=tuple(value["num_samples"]),
            settings_sha256=value["settings_sha256"],
        )
    except FileNotFoundError:
        raise ShardError(
            f"{directory} has no {SHARD_LIST}: not a finished set of shards; curation writes it last"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ShardError(f"{path} is damaged: {error!r}") from error
    indexes = [index_path(directory / shard) for shard in listing.shards]
    for start in range(0, len(indexes), _INDEXES_AT_ONCE):
        some = slice(start, start + _INDEXES_AT_ONCE)
        try:
            contents = read_many(indexes[some])
        except FileNotFoundError as error:
            raise ShardError(f"{error.filename} is missing, and {path} vouches for it") from None
        for index, content, expected in zip(indexes[some], contents, listing.index_sha256[some], strict=True):
            if sha256_hex(content) != expected:
                raise ShardError(f"{index} is not the one that {path} vouches for")
    return listing


def save_shard_list(directory: Path, listing: ShardList) -> None:
    """Write the list of a set's shards: the step that makes the set exist."""
    write_atomic(directory / SHARD_LIST, listing.to_json())
