"""Every video of a folder decoded once, shown to every extractor, and its features kept as soon as they are there.

Threads wait for the children that decode, `workers` of them; this thread prepares and extracts, a group of videos at a
time, and then keeps the group: a run that is killed loses what it has decoded and not kept, at most `workers` + 2
groups. Memory is that many videos' chosen frames, whatever the folder holds.

`score_part` is the unit of work: any videos, into a part of the store that nobody else writes. One machine does a
folder as one part (`folder.score_folder`); where several score, each does parts, and one of them merges.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from magdiff_eval.scoring.extractors import Extractor, Features, extract_all, extractor_key
from magdiff_eval.scoring.faults import ANY_VIDEO, Expectations, Fault, Reason
from magdiff_eval.scoring.features import MAIN, FeatureStore, PartWriter, Signature
from magdiff_eval.scoring.reading import Reading, is_done, name_of, read_for
from magdiff_eval.scoring.videos import VideoPath, reader_stamp


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How a folder is scored; none of it changes a number."""

    workers: int = 2
    """Videos decoded at a time, in processes of their own."""
    group: int = 16
    """Videos whose features are kept at once: what a kill may lose, and how often the disk is waited for."""
    ahead: bool = False
    """Decode the next videos while these are extracted: for networks on a GPU. On a CPU both would share its cores, and
    a network on two threads waits for the slower one."""
    report_seconds: float = 5.0
    """Time between two lines of progress."""

    def __post_init__(self) -> None:
        for name in ("workers", "group"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: need 1 or more")


DEFAULTS = EngineSettings()
_NAMED_AT_ONCE = 256


def open_store(folder: Path, extractors: Sequence[Extractor]) -> FeatureStore:
    """Return the store of features in a folder, for these extractors.

    Raises:
        ValueError: two extractors of one name and stamp, or a name that is no file's.
    """
    reader = reader_stamp()
    keys = [extractor_key(extractor, reader) for extractor in extractors]
    names = [extractor.name for extractor in extractors]
    if len(set(names)) < len(names):
        raise ValueError(f"extractors are named {names}: give each a name of its own")
    return FeatureStore(folder, keys, reader)


def score_part(
    videos: Sequence[VideoPath],
    extractors: Sequence[Extractor],
    store: FeatureStore,
    *,
    part: str = MAIN,
    expected: Expectations = ANY_VIDEO,
    settings: EngineSettings = DEFAULTS,
    report: Callable[[str], None] = print,
) -> int:
    """Add to a part of a store what is missing of some videos, and return how many had to be read.

    Args:
        videos: any; those of one content are read once.
        extractors: those that the store was opened for.
        store: from `open_store`.
        part: where the results go.
        expected: videos that are not so are not shown to extractors.
        settings: how.
        report: gets a line now and then.

    Raises:
        ValueError: another process writes the part, or an extractor does not do as it should.
    """
    if all(is_done(video, store, expected) for video in videos):
        return 0  # without a writer, so that a store may be read-only
    with store.writing(part) as writer:
        todo = _unfinished(videos, store, writer, expected, settings, report)
        begin = last = time.monotonic()
        done = 0
        for group in _grouped(_decoded(todo, extractors, store, expected, settings), settings.group):
            _keep(group, extractors, writer)
            done += len(group)
            if done == len(todo) or time.monotonic() - last >= settings.report_seconds:
                last = time.monotonic()
                rate = done / (last - begin)
                report(f"{done}/{len(todo)} videos, {rate:.1f} a second, {(len(todo) - done) / rate:.0f} s left")
    return len(todo)


def _unfinished(
    videos: Sequence[VideoPath],
    store: FeatureStore,
    writer: PartWriter,
    expected: Expectations,
    settings: EngineSettings,
    report: Callable[[str], None],
) -> list[tuple[VideoPath, Signature | None, str]]:
    """Return each content that is not done, with one of its videos; a file is hashed only if it is new or changed."""
    named = list[tuple[Signature | None, str]]()
    last = time.monotonic()
    with ThreadPoolExecutor(settings.workers) as threads:
        for start in range(0, len(videos), _NAMED_AT_ONCE):
            some = list(threads.map(lambda video: name_of(video, store), videos[start : start + _NAMED_AT_ONCE]))
            writer.add_contents({sign: content for sign, content in some if sign and sign not in store.contents})
            named += some
            if time.monotonic() - last >= settings.report_seconds:
                last = time.monotonic()
                report(f"{len(named)}/{len(videos)} videos looked at; new ones are hashed")
    todo = dict[str, tuple[VideoPath, Signature | None, str]]()
    for video, (signature, content) in zip(videos, named, strict=True):
        if not store.is_done(content, expected):
            todo.setdefault(content, (video, signature, content))
    return list(todo.values())


def _decoded(
    todo: Sequence[tuple[VideoPath, Signature | None, str]],
    extractors: Sequence[Extractor],
    store: FeatureStore,
    expected: Expectations,
    settings: EngineSettings,
) -> Iterator[Reading]:
    """Yield every video's reading in order: a group at a time, or with `ahead` up to `workers` + `group` in advance."""
    by_key = dict(zip(store.keys, extractors, strict=True))
    waiting: deque[Future[Reading]] = deque()
    threads = ThreadPoolExecutor(settings.workers)
    try:
        for video, signature, content in todo:
            wanted = {key: by_key[key] for key in store.keys if content not in store.features[key]}
            waiting.append(threads.submit(read_for, wanted, video, signature, content, expected))
            if settings.ahead and len(waiting) > settings.workers + settings.group:
                yield waiting.popleft().result()
            elif not settings.ahead and len(waiting) == settings.group:
                wait(waiting)
                while waiting:
                    yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)


def _keep(group: Sequence[Reading], extractors: Sequence[Extractor], writer: PartWriter) -> None:
    """Extract what a group's videos need, and keep features first, then what the videos are."""
    for key, extractor in zip(writer.store.keys, extractors, strict=True):
        found: dict[str, Features | Fault] = {}
        shown = []
        for reading in group:
            places = reading.places.get(key)
            if isinstance(places, Fault):
                found[reading.content] = places
            elif places is not None and reading.frames is not None:
                shown.append((reading.content, extractor.prepare(reading.frames[places])))
        rows = extract_all(extractor, [items for _, items in shown])
        for (content, _), features in zip(shown, rows, strict=True):
            found[content] = features if np.isfinite(features).all() else _not_finite(extractor, features)
        if found:
            writer.add_features(key, found)
    writer.add_videos({reading.content: reading.result for reading in group})


def _not_finite(extractor: Extractor, features: Features) -> Fault:
    count = int((~np.isfinite(features)).sum())
    return Fault(
        Reason.NOT_FINITE,
        f"{count} of {features.size} features of {extractor.name} are not finite: look at the video, "
        "and run the network in float32",
    )


def _grouped(readings: Iterator[Reading], size: int) -> Iterator[list[Reading]]:
    group: list[Reading] = []
    for reading in readings:
        group.append(reading)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
