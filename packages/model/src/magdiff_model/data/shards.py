"""What `--shards` may be, into tars in a fixed order.

Each source is a folder with `shards.json`, one .tar with its index, a glob, braces (`clips-{000000..000009}.tar`, as
WebDataset has them), a .txt file with one of these a line (relative to it), or a URL of any of those kinds. Order: as
given, sorted within globs. Tars of other tools need an index (`pipelines/curate.py index`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from braceexpand import braceexpand

from magdiff_curation.clips import stores
from magdiff_curation.clips.atomic import read_many
from magdiff_curation.clips.index import SHARD_LIST, load_shard_list
from magdiff_curation.clips.location import is_remote, is_web, location

_WILD = frozenset("*?[")


def find_shards(sources: Sequence[str]) -> list[Path]:
    """Return the tars that sources name, in order.

    Raises:
        ValueError: nothing is there, a pattern matches nothing, or a shard is named twice.
    """
    found: dict[str, tuple[Path, str]] = {}
    for source in sources:
        for shard in _shards(source):
            name = str(shard if is_remote(shard) else shard.resolve())
            if name in found:
                raise ValueError(f"the shard {shard} is named twice: by {found[name][1]!r} and by {source!r}")
            found[name] = shard, source
    if not found:
        raise ValueError("no shards were given: name folders, .tar files, patterns, lists or URLs of these")
    return [shard for shard, _ in found.values()]


def _shards(source: str) -> Iterator[Path]:
    for text in _without_braces(source):
        path = location(text, web=True)
        if _WILD & set(text) and (is_remote(path) or not path.exists()):
            yield from _matches(text, path)
        elif text.endswith(".txt"):
            yield from _listed(path)
        else:
            yield from _in_place(path)


def _without_braces(source: str) -> list[str]:
    if "{" not in source or Path(source).exists():
        return [source]
    try:
        return list(braceexpand(source, escape=False))
    except ValueError:
        raise ValueError(f"{source}: a brace has no partner; write {{000000..000009}} or {{a,b}}") from None


def _matches(text: str, pattern: Path) -> Iterator[Path]:
    if is_web(pattern):
        raise ValueError(
            f"{text}: a web server does not list its files: use braces (clips-{{000000..000009}}.tar), or name a "
            f"folder with {SHARD_LIST}"
        )
    paths = stores.matches(pattern) if is_remote(pattern) else _glob(pattern)
    shards = [path for path in paths if path.name.endswith(".tar") or (path / SHARD_LIST).is_file()]
    if not shards:
        raise ValueError(f"{text} matches no .tar, nor a folder with {SHARD_LIST}")
    for shard in shards:
        yield from _in_place(shard)


def _glob(pattern: Path) -> list[Path]:
    """Return what matches a pattern on the file system, relative or absolute."""
    return sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))


def _listed(path: Path) -> Iterator[Path]:
    try:
        lines = read_many([path])[0].decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the list of shards {path} cannot be read: {error}") from None
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise ValueError(f"the list of shards {path} is empty: write one tar, folder, pattern or URL a line")
    for name in names:
        if name.endswith(".txt"):
            raise ValueError(f"the list of shards {path} names another list, {name}: name its shards")
        absolute = "://" in name or name.startswith("/")
        yield from _shards(name if absolute else f"{str(path.parent).rstrip('/')}/{name}")


def _in_place(path: Path) -> Iterator[Path]:
    if not is_remote(path) and not path.exists():
        raise ValueError(f"there is nothing at {path}: give a folder of shards, a .tar with its index, or a pattern")
    if path.name.endswith(".tar"):
        yield path
    else:
        yield from (path / name for name in load_shard_list(path).shards)
