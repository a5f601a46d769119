"""Features on disk, by a video's content and an extractor's stamp: what is there is never computed again.

<folder>/<part>/contents.jsonl                   path, size and time of change -> SHA-256 of the content
<folder>/<part>/videos.jsonl                     content -> what the video is, or its fault
<folder>/<part>/<extractor key>.jsonl and .bin   content -> its features

Every file only grows. Each writer has a part of its own, so that any number of machines write at once; `merge` makes
one of them. A video costs its numbers and 0.6 kB of lines; opening reads all of it once, in order, and keeps only where
things are. Ten thousand videos that are all there take a second and 30 MiB to find again (`bench/scoring.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from magdiff_eval.scoring.extractors import Features
from magdiff_eval.scoring.faults import PASSING, Expectations, Facts, Fault, judge
from magdiff_eval.scoring.feature_file import FeatureFile, Place
from magdiff_eval.scoring.lines import append_lines, read_lines, sole_writer

MAIN = "main"
"""The part that others are merged into."""
CONTENTS, VIDEOS = "contents.jsonl", "videos.jsonl"
Signature = tuple[str, int, int]
"""A path, its size in bytes, and its time of change in nanoseconds."""


class FeatureStore:
    """What a folder holds, as it was when opened, and what this process has added since.

    Args:
        folder: the store's; none yet is an empty one.
        keys: the extractors whose features are wanted, by `extractor_key`.
        reader: what videos are decoded by; what another reader found does not count.
    """

    def __init__(self, folder: Path, keys: Sequence[str], reader: Mapping[str, str]) -> None:
        self.folder, self.keys, self.reader = folder, tuple(keys), dict(reader)
        self.contents: dict[Signature, str] = {}
        self.videos: dict[str, Facts | Fault] = {}
        self.features: dict[str, dict[str, Place | Fault]] = {key: {} for key in keys}
        self.num_lost = 0
        """Rows whose checksum is wrong: they count as not there."""
        for part in self.parts():
            self._open(folder / part)

    def parts(self) -> list[str]:
        """Return the names of the parts, the main one first."""
        found = [path.name for path in self.folder.iterdir() if path.is_dir()] if self.folder.is_dir() else []
        return sorted(found, key=lambda name: (name != MAIN, name))

    def is_done(self, content: str, expected: Expectations) -> bool:
        """Whether nothing is left to be found of a video: a lasting fault, or every extractor's row, is here."""
        video = self.videos.get(content)
        if isinstance(video, Fault):
            return video.reason not in PASSING
        if video is None:
            return False
        return judge(video, expected) is not None or all(content in rows for rows in self.features.values())

    def read(self, key: str, contents: Sequence[str]) -> Iterator[Features]:
        """Yield the features of videos in their order, [items, ...] each; all must be there, and no fault."""
        files: dict[Path, BinaryIO] = {}
        try:
            for content in contents:
                place = self.features[key][content]
                assert isinstance(place, Place), f"{content} has no features of {key}, but {place}"
                if place.path not in files:
                    files[place.path] = place.path.open("rb")
                yield place.read(files[place.path])
        finally:
            for file in files.values():
                file.close()

    @contextmanager
    def writing(self, part: str = MAIN) -> Iterator[PartWriter]:
        """Yield a writer of a part; no other process writes there meanwhile.

        Raises:
            ValueError: another process does, or the name is no folder's.
        """
        if not part or part.startswith(".") or Path(part).name != part:
            raise ValueError(f"a part is named {part!r}: give a plain name such as 00007")
        with sole_writer(self.folder / part):
            yield PartWriter(self, self.folder / part)

    def _open(self, part: Path) -> None:
        for line in read_lines(part / CONTENTS):
            self.contents[(line["path"], line["size"], line["mtime_ns"])] = line["content"]
        for line in read_lines(part / VIDEOS):
            if line["reader"] == self.reader:
                video = Fault.of_row(line["fault"]) if "fault" in line else Facts(**line["facts"])
                known = self.videos.setdefault(line["content"], video)
                if isinstance(known, Fault):  # what could be read once, in whichever part, stays readable
                    self.videos[line["content"]] = video
        for key, rows in self.features.items():
            for content, entry in FeatureFile(part, key).entries():
                if entry is None:
                    self.num_lost += 1
                else:
                    rows[content] = entry


class PartWriter:
    """Adds to one part of a store; `FeatureStore.writing` makes it."""

    def __init__(self, store: FeatureStore, folder: Path) -> None:
        self.store, self.folder = store, folder

    def add_contents(self, found: Mapping[Signature, str]) -> None:
        """Remember the contents of files, on disk before this returns."""
        names = ("path", "size", "mtime_ns", "content")
        lines = [dict(zip(names, (*signature, content), strict=True)) for signature, content in found.items()]
        append_lines(self.folder / CONTENTS, lines)
        self.store.contents.update(found)

    def add_videos(self, found: Mapping[str, Facts | Fault]) -> None:
        """Add what videos are, by content; on disk before this returns."""
        lines = list[dict[str, Any]]()
        for content, video in found.items():
            what = "fault" if isinstance(video, Fault) else "facts"
            lines.append({"content": content, "reader": self.store.reader, what: video.row()})
        append_lines(self.folder / VIDEOS, lines)
        self.store.videos.update(found)

    def add_features(self, key: str, found: Mapping[str, Features | Fault]) -> None:
        """Add an extractor's features [items, ...], or its faults, by content; on disk before this returns."""
        self.store.features[key].update(FeatureFile(self.folder, key).append(found))


def merge(store: FeatureStore) -> FeatureStore:
    """Move all other parts of a store into the main one, and return it opened anew.

    Killed at any moment and called again it loses nothing, and nothing is there twice.

    Raises:
        ValueError: another process writes one of the parts.
    """
    with sole_writer(store.folder / MAIN):
        for part in [name for name in store.parts() if name != MAIN]:
            with sole_writer(store.folder / part):
                _move(store.folder / part, store.folder / MAIN)
                shutil.rmtree(store.folder / part)
    return FeatureStore(store.folder, store.keys, store.reader)


def _move(source: Path, target: Path) -> None:
    for path in sorted(source.glob("*.bin")):
        moved, there = FeatureFile(source, path.stem), FeatureFile(target, path.stem)
        known = {content for content, entry in there.entries() if entry is not None}
        with path.open("rb") as file:
            for some in _by_many(moved, known):
                there.append({c: e.read(file) if isinstance(e, Place) else e for c, e in some.items()})
    for name in (VIDEOS, CONTENTS):
        known_lines = {str(line) for line in read_lines(target / name)}
        append_lines(target / name, (line for line in read_lines(source / name) if str(line) not in known_lines))


def _by_many(file: FeatureFile, known: set[str]) -> Iterator[dict[str, Place | Fault]]:
    new = ((content, entry) for content, entry in file.entries() if entry is not None and content not in known)
    while some := dict(islice(new, 256)):
        yield some
