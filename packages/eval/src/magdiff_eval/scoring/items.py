"""What belongs to each video: its prompt, pictures of its subject, the source it was edited from. One line a video.

{"name": "bear/style", "prompt": "a bear, watercolour", "references": ["bear/0.jpg"], "source": "sources/bear",
"masks": "kept/bear"}

in a .jsonl file, or the same columns in a .csv, where several references are parted by `;`. Paths are from the file's
folder. Only `name` must be there; what a metric lacks becomes a row's fault.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class ScoredItem:
    """A video's line."""

    name: str
    """The video's, as `videos.list_videos` has it."""
    prompt: str | None = None
    """What it should show."""
    source_prompt: str | None = None
    """What its source showed; FateZero's text score compares with it."""
    references: tuple[Path, ...] = ()
    """Pictures of the subject."""
    reference_masks: tuple[Path, ...] = ()
    """The subject's mask in each, anything but black, or none."""
    source: Path | None = None
    """What it was edited from, frame by frame: a video, or a folder of pictures."""
    masks: Path | None = None
    """A folder of masks of what the edit was to keep, a picture a frame, anything but black."""
    subject_masks: Path | None = None
    """A folder of masks of the video's own subject, where it is to be cut out."""


_SEVERAL = ("references", "reference_masks")
_PATHS = ("source", "masks", "subject_masks", *_SEVERAL)


def read_items(path: Path) -> dict[str, ScoredItem]:
    """Return a file's items by name.

    Raises:
        ValueError: another kind of file, or lines that are wrong, all of them in one message.
    """
    readers = {".jsonl": _json_lines, ".csv": _csv_lines}
    if path.suffix not in readers:
        raise ValueError(f"{path} is no list of items: give a .jsonl or a .csv file")
    found, faults = dict[str, ScoredItem](), list[str]()
    names = Counter[str]()
    for number, line in readers[path.suffix](path):
        try:
            item = _item(line, path.parent)
        except ValueError as error:
            faults.append(f"line {number}: {error}")
            continue
        names[item.name] += 1
        found[item.name] = item
    faults += [f"{name} is there {count} times: give each video one line" for name, count in names.items() if count > 1]
    if faults:
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ValueError(f"{path} has {len(faults)} faults:\n  " + "\n  ".join(faults[:_SHOWN]) + more)
    if not found:
        raise ValueError(f"{path} has no line: give one for each video")
    return found


def _item(line: object, folder: Path) -> ScoredItem:
    known = [field.name for field in fields(ScoredItem)]
    if not isinstance(line, dict) or not isinstance(line.get("name"), str) or not line["name"]:
        raise ValueError("it names no video: need an object with a name")
    values: dict[str, Any] = {key: value for key, value in line.items() if value not in (None, "", [])}
    if unknown := [key for key in values if key not in known]:
        raise ValueError(f"{unknown[0]!r} is no column: give some of {', '.join(known)}")
    for key, value in values.items():
        several = isinstance(value, list) and all(isinstance(entry, str) for entry in value)
        if not (several if key in _SEVERAL else isinstance(value, str)):
            raise ValueError(f"{key} is {value!r}: need {'a list of texts' if key in _SEVERAL else 'a text'}")
        if key in _PATHS:
            paths = tuple(folder / entry for entry in (value if several else [value]))
            if missing := [entry for entry in paths if not entry.exists()]:
                raise ValueError(f"{key}: there is no {missing[0]}")
            values[key] = paths if key in _SEVERAL else paths[0]
    item = ScoredItem(**values)
    if item.reference_masks and len(item.reference_masks) != len(item.references):
        raise ValueError(f"{len(item.references)} references and {len(item.reference_masks)} masks: give one for each")
    return item


def _json_lines(path: Path) -> Iterator[tuple[int, object]]:
    for number, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if text.strip():
            try:
                yield number, json.loads(text)
            except ValueError:
                yield number, None


def _csv_lines(path: Path) -> Iterator[tuple[int, object]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            line: dict[str, Any] = dict(row)
            yield reader.line_num, line | {key: line[key].split(";") for key in _SEVERAL if line.get(key)}
