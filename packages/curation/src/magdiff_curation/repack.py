"""Repacking: a set that grew by many small additions gets full shards again, in the order of its keys.

Shards are never rewritten by a run. This is the explicit way: new shards under names that were never used, then the
list, which is the moment at which the set changes, then the old shards go. A crash before the list leaves the old
set, after it the new one; what lies about is removed by the next repacking. Samples are copied and checked, not
opened; the room for a second copy is needed meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from magdiff_curation.clips.atomic import list_files, read_many, read_range, replace_if_unchanged, sha256_hex
from magdiff_curation.clips.index import (
    INDEX_SUFFIX,
    SHARD_LIST,
    SampleEntry,
    ShardError,
    ShardList,
    index_path,
    load_index,
    load_shard_list,
)
from magdiff_curation.clips.shards import write_shard
from magdiff_curation.runs import Superseded

_NAME = re.compile(r"clips-(?:r(\d+)-)?\d{6}\.tar")


def repack(output: Path, shard_bytes: int, check_owner: Callable[[], None] = lambda: None) -> ShardList:
    """Write a set's samples into shards of at most `shard_bytes` in the order of their keys; return the new list.

    Raises:
        ShardError: no set, or a damaged one; nothing has changed then.
    """
    old = load_shard_list(output)
    (seen,) = read_many([output / SHARD_LIST])
    samples = sorted(
        ((entry, output / shard) for shard in old.shards for entry in load_index(output / shard).samples),
        key=lambda sample: sample[0].key,
    )
    names = [_NAME.fullmatch(name) for name in list_files(output)]
    generation = 1 + max((int(name[1] or 0) for name in names if name), default=0)
    shards, digests, counts = [], [], []
    for number, group in enumerate(_groups(samples, shard_bytes)):
        check_owner()
        path = output / f"clips-r{generation}-{number:06d}.tar"
        write_shard(path, ((entry.key, _copy(entry, shard)) for entry, shard in group))
        shards.append(path.name)
        digests.append(sha256_hex(index_path(path).read_bytes()))
        counts.append(len(group))
    listing = ShardList(
        shards=tuple(shards),
        index_sha256=tuple(digests),
        num_samples=tuple(counts),
        settings_sha256=old.settings_sha256,
    )
    check_owner()
    if not replace_if_unchanged(output / SHARD_LIST, listing.to_json(), seen):
        raise Superseded(f"{output / SHARD_LIST} has changed meanwhile: another run is at work; nothing was replaced")
    listed = {name for shard in shards for name in (shard, index_path(output / shard).name)}
    for name in list_files(output):
        if _NAME.fullmatch(name.replace(INDEX_SUFFIX, ".tar")) and name not in listed:
            (output / name).unlink()
    return listing


def _groups(samples: list[tuple[SampleEntry, Path]], shard_bytes: int) -> Iterator[list[tuple[SampleEntry, Path]]]:
    group: list[tuple[SampleEntry, Path]] = []
    for sample in samples:
        if group and sum(entry.length for entry, _ in group) + sample[0].length > shard_bytes:
            yield group
            group = []
        group.append(sample)
    if group:
        yield group


def _copy(entry: SampleEntry, shard: Path) -> bytes:
    packed = read_range(shard, entry.offset, entry.length)
    if sha256_hex(packed) != entry.sha256:
        raise ShardError(f"{shard} is damaged: clip {entry.key} is not what was indexed")
    return packed
