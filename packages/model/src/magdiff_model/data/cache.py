"""A bounded local cache of shards that lie elsewhere.

A shard is fetched whole, hashed as it comes, and gets its name, the sha256 that its index says, only if it has it: what
has its name is right. A connection that breaks is taken up where it stopped; whatever else comes is thrown away. The
shards that were used longest ago make room; whoever has one open keeps it until the next read, which fetches it again.
Ranks and workers of a node share the cache: one fetches a shard, the others wait. Locks end with their process.
It should hold the shards of a window of the order for every rank on the node, or shards come and go with every sample.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from magdiff_curation.clips import stores
from magdiff_curation.clips.index import ShardError, ShardIndex

CACHE = "MAGDIFF_CACHE"
"""The environment's name for the cache, as curation's models have it: every node has its own."""
TRIES = 5
FIRST_PAUSE_SECONDS = 1.0
_PIECE = 2**20


@dataclass(frozen=True, kw_only=True)
class ShardCache:
    """Local copies of shards, together within a limit."""

    folder: Path
    limit_bytes: int

    def open(self, shard: Path, index: ShardIndex) -> IO[bytes]:
        """Return a shard's local copy, open; it is fetched where it is not there.

        Raises:
            ShardError: it cannot be fetched, is not what its index says, or is larger than the cache.
        """
        if not re.fullmatch("[0-9a-f]{64}", index.sha256):
            raise ShardError(f"{shard}: its index is damaged: {index.sha256!r} is no sha256")
        if index.size > self.limit_bytes:
            raise ShardError(
                f"{shard} has {index.size / 1e9:.3g} GB and the cache at most {self.limit_bytes / 1e9:.3g}: raise "
                "data.cache_gigabytes"
            )
        kept = self.folder / f"{index.sha256}.tar"
        file = _open_whole(kept, index.size) or self._fetched(shard, index, kept)
        now = time.time_ns()  # the system would round it, so that two uses look like one
        os.utime(file.fileno(), ns=(now, now))
        return file

    def _fetched(self, shard: Path, index: ShardIndex, kept: Path) -> IO[bytes]:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f"{index.sha256}.{index.size}.part")
        with _locked(_lock_of(kept)):
            file = _open_whole(kept, index.size)
            if file is not None:
                return file  # another process has fetched it meanwhile
            self._make_room(part, index.size, kept)
            for attempt in range(TRIES):
                try:
                    _download(shard, index, part)
                    break
                except OSError as error:
                    _refuse(shard, error, last=attempt == TRIES - 1)
                time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
            file = part.open("rb")
            with _locked(self._room_lock()):  # what is there does not change while somebody counts
                part.rename(kept)
            return file

    def _make_room(self, part: Path, size: int, kept: Path) -> None:
        """Delete what was used longest ago until a shard fits, and take the room: a part counts as the whole."""
        while True:
            with _locked(self._room_lock()):
                kept.unlink(missing_ok=True)  # of another size: something has cut it
                others = [path for path in self.folder.iterdir() if path.suffix in (".tar", ".part") and path != part]
                sizes = {path: _promised(path) for path in sorted(others, key=lambda path: path.stat().st_mtime)}
                used = sum(sizes.values())
                for path, freed in sizes.items():
                    if used + size <= self.limit_bytes:
                        break
                    with _locked(_lock_of(path), wait=False) as free:  # not what another process is fetching
                        if free:
                            path.unlink()
                            used -= freed
                if used + size <= self.limit_bytes:
                    part.touch()
                    return
            time.sleep(0.1)  # others are fetching into the room that is left

    def _room_lock(self) -> Path:
        return self.folder / "room.lock"


def default_cache(limit_gigabytes: float) -> ShardCache:
    """Return the cache in `$MAGDIFF_CACHE/shards`, by default ~/.cache/magdiff/shards."""
    folder = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "magdiff") / "shards"
    return ShardCache(folder=folder, limit_bytes=int(limit_gigabytes * 1e9))


def _download(shard: Path, index: ShardIndex, part: Path) -> None:
    """Complete `part`; an OSError leaves in it what a later try may go on from, or nothing."""
    with part.open("r+b") as file:
        digest = hashlib.sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
        have = file.tell()
        if have < index.size:
            start, pieces = stores.pieces_from(shard, have, index.size)
            if start != have:  # a server without ranges
                file.seek(start)
                file.truncate()
                digest, have = hashlib.sha256(), start
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                have += len(piece)
                if have > index.size:
                    break
        if have < index.size:
            raise OSError(errno.EIO, f"it broke off after {have} of {index.size} bytes")
        if have > index.size or digest.hexdigest() != index.sha256:
            file.truncate(0)
            raise OSError(errno.EIO, "other bytes came than its index says")
        file.flush()
        os.fsync(file.fileno())


def _refuse(shard: Path, error: OSError, *, last: bool) -> None:
    """Raise what another try will not mend."""
    if isinstance(error, FileNotFoundError):
        raise ShardError(f"{shard} is missing; its index is there") from error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise ShardError(f"{shard}: no room for its local copy: let {CACHE} name a larger disk") from error
    if last or isinstance(error, PermissionError):
        raise ShardError(f"{shard} cannot be fetched, after {TRIES} tries: {error}") from error


def _promised(path: Path) -> int:
    return int(path.suffixes[-2][1:]) if path.suffix == ".part" else path.stat().st_size


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name.partition('.')[0]}.lock")


def _open_whole(path: Path, size: int) -> IO[bytes] | None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if os.fstat(file.fileno()).st_size == size:
        return file
    file.close()
    return None


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock; with `wait` False, yield whether it could be had at once."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
