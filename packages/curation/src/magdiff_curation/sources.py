"""Where inputs come from: a folder of videos with sidecar captions, or a manifest in csv, jsonl or parquet.

Listing is cheap (names, sizes, modification times) and never opens a video. Every row of the manifest becomes
an input, whatever is wrong with it: what cannot be used ends up in the ledger, not on the floor.

Folder, manifest and videos may lie on S3. Of a bucket's videos one listing is asked for, below the deepest folder
that holds them all (a thousand names a request); no request is made for each.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import io
import json
import math
import os
import posixpath
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from magdiff_curation.clips.atomic import list_files, read_many, sha256_hex
from magdiff_curation.clips.location import S3, is_remote, location
from magdiff_curation.clips.stores import BUCKET, get_file
from magdiff_curation.config import CurationSettings
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.state import ClipState

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts"})


def list_inputs(settings: CurationSettings) -> list[ClipState]:
    """Return every input of a run, in order of its name.

    Raises:
        ValueError: no such source, an unknown kind of manifest, a column that is not there, or no inputs at all.
    """
    source = settings.source
    names = list_files(source)
    if names or source.is_dir():
        states = _folder(source, names)
    elif source.is_file():
        states = _manifest(source, settings)
    else:
        raise ValueError(
            f"source {str(source)!r} does not exist; give a folder of videos or a manifest (.csv, .jsonl, .parquet), "
            "or make one to try: python -m magdiff_curation.toyworld dataset --output data/toyworld"
        )
    if not states:
        raise ValueError(f"source {str(source)!r} holds no inputs (videos end in {', '.join(sorted(VIDEO_SUFFIXES))})")
    states = sorted(states, key=lambda state: state.source)[: settings.limit]
    seen: dict[str, int] = {}
    settings_sha256 = settings.result_sha256()
    remote = _remote_files([state.path for state in states if state.path.startswith(S3)])
    for state in states:
        seen[state.source] = seen.get(state.source, 0) + 1
        if seen[state.source] > 1:
            state.source += f"#{seen[state.source]}"
        if state.path in remote:
            state.size_bytes, state.modified_ns = remote[state.path]
        elif not state.path.startswith(S3) and Path(state.path).is_file():
            status = Path(state.path).stat()
            state.size_bytes, state.modified_ns = status.st_size, status.st_mtime_ns
        state.settings_sha256 = settings_sha256
    return [state for state in states if _part(state.source, settings.parts) == settings.part]


def _part(source: str, parts: int) -> int:
    return int(sha256_hex(source.encode())[:12], 16) % parts + 1


@contextmanager
def local_copy(path_text: str) -> Iterator[Path]:
    """Yield the file that an input's path names, where programs can open it: one on S3 is fetched for the while.

    Raises:
        ClipRejected: there is no such object. OSError: the store cannot be reached, or the disk is full.
    """
    if not path_text.startswith(S3):
        yield Path(path_text)
        return
    with tempfile.TemporaryDirectory(prefix="magdiff-source-") as folder:
        path = Path(folder) / f"source{PurePosixPath(path_text).suffix}"
        try:
            get_file(path_text, path)
        except FileNotFoundError as error:
            raise ClipRejected(Reason.SOURCE_MISSING, f"{path_text} is not there: {error.strerror}") from error
        yield path


def _remote_files(urls: list[str]) -> dict[str, tuple[int, int]]:
    """Return the size and time of those videos that are there, by URL."""
    parents = collections.defaultdict(set)
    for url in urls:
        bucket, _, key = url.removeprefix(S3).partition("/")
        if BUCKET.fullmatch(bucket):
            parents[bucket].add(key.rpartition("/")[0] + "/")
    found: dict[str, tuple[int, int]] = {}
    for bucket, folders in parents.items():
        common = os.path.commonprefix(list(folders)).partition("::")[0]  # noqa: RUF071 - cut at a slash, below
        folder = f"{S3}{bucket}/{common[: common.rfind('/') + 1]}".rstrip("/")
        # A bucket that is not there, or may not be listed, spoils its own rows and no others.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            found |= {f"{folder}/{name}": entry for name, entry in list_files(location(folder)).items()}
    return {url: found[url] for url in urls if url in found}


def _folder(folder: Path, names: Collection[str]) -> list[ClipState]:
    videos = [name for name in names if PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES]
    for name in videos:
        if _plain(name) != name:
            raise ValueError(f"the name of the file {str(folder / name)!r} is not UTF-8: rename it")
        if is_remote(folder) and "::" in name:
            raise ValueError(f"the name of the object {f'{folder}/{name}'!r} has '::' in it: rename it")
    sidecars = {name: str(PurePosixPath(name).with_suffix(".txt")) for name in videos}
    written = [sidecar for sidecar in dict.fromkeys(sidecars.values()) if sidecar in names]
    captions = dict(zip(written, read_many([folder / sidecar for sidecar in written]), strict=True))
    states = []
    for name in videos:
        caption = captions.get(sidecars[name], b"").decode(errors="replace").strip()
        states.append(ClipState(source=name, path=_path_text(folder, name), caption=caption, fields={}))
    return states


def _path_text(folder: Path, name: str) -> str:
    """Return where a file is that a folder or a manifest in it names: on a file system absolute, on S3 its URL."""
    if name.startswith(S3):
        return name
    if not is_remote(folder):
        return str((folder / name).resolve())
    bucket, _, key = str(folder).removeprefix(S3).partition("/")
    key = posixpath.join(key, name.lstrip("/"))
    if {".", ".."} & set(key.split("/")):
        key = posixpath.normpath("/" + key).lstrip("/")
    return f"{S3}{bucket}/{key}"


def _manifest(manifest: Path, settings: CurationSettings) -> list[ClipState]:
    rows = _rows(manifest)
    states = []
    for number, raw in enumerate(rows, start=1):
        row = {_plain(str(column)): _plain(value) for column, value in raw.items()}
        captions = [column for column in settings.caption_columns if column in row]
        needs_caption = settings.answer.missing_caption == "drop"
        if settings.video_column not in row or (needs_caption and not captions):
            lacking = settings.caption_columns if settings.video_column in row else (settings.video_column,)
            raise ValueError(
                f"{manifest} row {number} has no column {' or '.join(map(repr, lacking))}; its columns are "
                f"{', '.join(row)}: set video_column and caption_columns"
            )
        name = str(row.pop(settings.video_column))
        said = [str(row.pop(column) or "").strip() for column in captions]
        states.append(
            ClipState(
                source=name,
                path=_path_text(manifest.parent, name),
                caption=next(filter(None, said), ""),
                fields={column: value for column, value in row.items() if value not in (None, "")},
            )
        )
    return states


def _plain(value: Any) -> Any:
    """Return a manifest's value as JSON can hold it: what is not a number is none, what is not JSON's is text."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case float():
            return None if math.isnan(value) else value if math.isfinite(value) else str(value)
        case list():
            return [_plain(entry) for entry in value]
        case dict():
            return {_plain(str(name)): _plain(entry) for name, entry in value.items()}
        case bool() | int() | None:
            return value
    return _plain(str(value))


def _rows(manifest: Path) -> list[dict[str, Any]]:
    kind = manifest.suffix.lower()
    if kind not in (".csv", ".jsonl", ".parquet"):
        raise ValueError(f"manifest {manifest} has an unknown kind {manifest.suffix!r}; use .csv, .jsonl or .parquet")
    (content,) = read_many([manifest])
    if kind == ".parquet":
        import pyarrow  # only needed here
        import pyarrow.parquet

        return list(pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist())
    if kind == ".csv":
        return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    rows = []
    for number, line in enumerate(content.decode("utf-8").split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{manifest} line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{manifest} line {number} is not a JSON object: {line[:80]!r}")
            rows.append(row)
    return rows
