"""Where inputs come from: a folder of videos with sidecar captions, or a manifest in csv, jsonl or parquet.

Listing is cheap (names, sizes, modification times) and never opens a video. Every row of the manifest becomes
an input, whatever is wrong with it: what cannot be used ends up in the ledger, not on the floor.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magdiff_curation.config import CurationSettings
from magdiff_curation.state import ClipState

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts"})


def list_inputs(settings: CurationSettings) -> list[ClipState]:
    """Return every input of a run, in order of its name.

    Raises:
        ValueError: no such source, an unknown kind of manifest, a column that is not there, or no inputs at all.
    """
    source = settings.source
    if source.is_dir():
        states = _folder(source)
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
    for state in states:
        seen[state.source] = seen.get(state.source, 0) + 1
        if seen[state.source] > 1:
            state.source += f"#{seen[state.source]}"
        path = Path(state.path)
        if path.is_file():
            state.size_bytes, state.modified_ns = path.stat().st_size, path.stat().st_mtime_ns
        state.settings_sha256 = settings_sha256
    return states


@contextmanager
def local_copy(path_text: str) -> Iterator[Path]:
    """Yield the file that an input's path names, where programs can open it."""
    yield Path(path_text)


def _folder(folder: Path) -> list[ClipState]:
    states = []
    for path in folder.rglob("*"):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            if _plain(str(path)) != str(path):
                raise ValueError(f"the name of the file {str(path)!r} is not UTF-8: rename it")
            sidecar = path.with_suffix(".txt")
            caption = sidecar.read_text(encoding="utf-8", errors="replace").strip() if sidecar.is_file() else ""
            states.append(
                ClipState(
                    source=path.relative_to(folder).as_posix(), path=str(path.resolve()), caption=caption, fields={}
                )
            )
    return states


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
                path=str((manifest.parent / name).resolve()),
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
    match manifest.suffix.lower():
        case ".csv":
            with manifest.open(encoding="utf-8-sig", newline="") as file:
                return list(csv.DictReader(file))
        case ".jsonl":
            rows = []
            for number, line in enumerate(manifest.read_text(encoding="utf-8").splitlines(), start=1):
                if line.strip():
                    try:
                        row = json.loads(line)
                    except json.JSONDecodeError as error:
                        raise ValueError(f"{manifest} line {number} is not JSON: {error}") from error
                    if not isinstance(row, dict):
                        raise ValueError(f"{manifest} line {number} is not a JSON object: {line[:80]!r}")
                    rows.append(row)
            return rows
        case ".parquet":
            import pyarrow.parquet  # only needed here

            return list(pyarrow.parquet.read_table(manifest).to_pylist())
    raise ValueError(f"manifest {manifest} has an unknown kind {manifest.suffix!r}; use .csv, .jsonl or .parquet")
