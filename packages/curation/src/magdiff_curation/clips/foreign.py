"""Indexes for other people's WebDataset shards, so that a loader can order, resume, range-read and check them.

A sample's members share a key: the name up to the first dot of its last part (WebDataset's rule). Its stretch runs
from its first header to the next sample's first header; folders and files without a key lie in the stretch that
they stand in. Tars are read once, hashed, and neither changed nor extracted.
"""

from __future__ import annotations

import collections
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from magdiff_curation.clips.atomic import list_files, read_many, sha256_hex, write_atomic
from magdiff_curation.clips.index import (
    SHARD_LIST,
    SampleEntry,
    ShardError,
    ShardIndex,
    ShardList,
    index_path,
    save_shard_list,
)
from magdiff_curation.clips.tars import BLOCK, Member, content_pieces, end_pieces, next_member

_USES = {"mp4": {"mp4"}, "json": {"json"}, "masks": {"masks.json"}, "caption": {"txt", "caption"}}
"""What a sample is looked at for, and the members any of which is that."""


@dataclass(kw_only=True)
class ForeignSummary:
    """What a set of shards holds: whether it is of use for training, or only as a source of videos."""

    num_shards: int = 0
    num_samples: int = 0
    extensions: collections.Counter[str] = field(default_factory=collections.Counter)
    """Members by what follows the key."""
    lacking: collections.Counter[str] = field(default_factory=lambda: collections.Counter(dict.fromkeys(_USES, 0)))
    """Samples without an mp4, a json, masks (masks.json) or a caption of their own (txt, caption)."""
    num_ignored: int = 0
    """Files whose names give no key; no reader sees them."""

    def __str__(self) -> str:
        members = ", ".join(f"{count} {name}" for name, count in sorted(self.extensions.items()))
        lacking = ", ".join(f"{count} without {name}" for name, count in self.lacking.items())
        ignored = f"; {self.num_ignored} files without a key" if self.num_ignored else ""
        return f"{self.num_samples} samples in {self.num_shards} shards: {members}; {lacking}{ignored}"


def sample_name(name: str) -> tuple[str, str] | None:
    """Return a member's key and extension (in lower case, as WebDataset has it), or None where it has no key."""
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    if not stem or not dot or (name.startswith("__") and name.endswith("__")):
        return None
    return folder + slash + stem, extension.lower()


def index_shards(folder: Path) -> ShardList:
    """Write an index beside every tar of a folder, then their list, and return the list.

    Raises:
        ShardError: no tars, one that cannot be indexed, or a folder that curation writes to.
    """
    return index_and_describe(folder)[0]


def index_and_describe(folder: Path) -> tuple[ShardList, ForeignSummary]:
    """Do as `index_shards`, and also return what the samples hold."""
    names = sorted(name for name in list_files(folder) if name.endswith(".tar") and "/" not in name)
    if not names:
        raise ShardError(f"{folder} holds no .tar files")
    _check_foreign(folder)
    summary = ForeignSummary(num_shards=len(names))
    digests, counts = [], []
    for name in names:
        index = index_tar(folder / name, summary)
        content = index.to_json()
        write_atomic(index_path(folder / name), content)
        digests.append(sha256_hex(content))
        counts.append(len(index.samples))
    listing = ShardList(shards=tuple(names), index_sha256=tuple(digests), num_samples=tuple(counts), settings_sha256="")
    save_shard_list(folder, listing)
    return listing, summary


def index_tar(path: Path, summary: ForeignSummary) -> ShardIndex:
    """Return the index of one tar, and add what it holds to the summary.

    Raises:
        ShardError: it is cut, damaged, or has a key or a member twice, links, or no samples.
    """
    try:
        with path.open("rb") as file:
            return _Indexer(path, summary).run(file)
    except OSError as error:
        raise ShardError(f"{path} cannot be read: {error}") from error


class _Indexer:
    def __init__(self, path: Path, summary: ForeignSummary) -> None:
        self.path, self.summary = path, summary
        self.samples: list[SampleEntry] = []
        self.seen: set[str] = set()
        self.key = ""
        self.extensions: set[str] = set()
        self.start = self.position = 0
        self.sample, self.whole = hashlib.sha256(), hashlib.sha256()

    def run(self, file: IO[bytes]) -> ShardIndex:
        where = str(self.path)
        while (member := next_member(file, where)) is not None:
            self._enter(member)
            self._take(member.headers)
            for piece in content_pieces(file, member, where):
                self._take(piece)
        self._close()
        size = self.position + BLOCK
        self.whole.update(bytes(BLOCK))
        for piece in end_pieces(file, where):
            self.whole.update(piece)
            size += len(piece)
        if not self.samples:
            raise ShardError(f"{where} holds no samples: no file of it has a name of the form key.extension")
        return ShardIndex(shard=self.path.name, size=size, sha256=self.whole.hexdigest(), samples=tuple(self.samples))

    def _enter(self, member: Member) -> None:
        name = None if member.is_folder else sample_name(member.name)
        if name is None:
            self.summary.num_ignored += not member.is_folder
            return
        key, extension = name
        if key != self.key:
            self._close()
            if key in self.seen:
                raise ShardError(
                    f"{self.path}: the key {key!r} comes again after others ({member.name!r}): it is there twice, or "
                    "its members do not stand together; sort the files by name and write the tar again"
                )
            self.key = key
            self.seen.add(key)
        if extension in self.extensions:
            raise ShardError(f"{self.path}: the member {member.name!r} of the key {key!r} is there twice")
        self.extensions.add(extension)

    def _close(self) -> None:
        """End the sample that the bytes so far belong to; what stands before the first one belongs to that."""
        if not self.key:
            return
        self.samples.append(
            SampleEntry(
                key=self.key, offset=self.start, length=self.position - self.start, sha256=self.sample.hexdigest()
            )
        )
        self.summary.num_samples += 1
        self.summary.extensions.update(self.extensions)
        self.summary.lacking.update(use for use, names in _USES.items() if not names & self.extensions)
        self.start, self.sample = self.position, hashlib.sha256()
        self.key, self.extensions = "", set()

    def _take(self, content: bytes) -> None:
        self.position += len(content)
        self.sample.update(content)
        self.whole.update(content)


def unpack_members(file: IO[bytes], key: str, where: str) -> dict[str, bytes]:
    """Return the members of a sample's stretch, extension -> content.

    Raises:
        ShardError: it is damaged, or another sample's.
    """
    members = {}
    while (member := next_member(file, where)) is not None:
        content = b"".join(content_pieces(file, member, where))
        name = None if member.is_folder else sample_name(member.name)
        if name is None:
            continue
        if name[0] != key or name[1] in members:
            raise ShardError(f"{where}: {member.name!r} does not belong to the sample {key!r}")
        members[name[1]] = content[: member.size]
    return members


def _check_foreign(folder: Path) -> None:
    try:
        made_with = json.loads(read_many([folder / SHARD_LIST])[0])["settings_sha256"]
    except FileNotFoundError:
        made_with = "an unfinished run" if (folder / "work" / "runs").is_dir() else ""
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{folder / SHARD_LIST} is damaged: {error!r}; delete it to index the shards anew") from error
    if made_with:
        raise ShardError(f"{folder} is curation's own output ({made_with[:20]}): it makes its indexes itself")
