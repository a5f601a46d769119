"""A folder scored: a row for each of its videos, and the features of those that count, in the order of their names.

That order alone decides how sums are rounded, so a set's score is the same to the bit however it was computed: at once,
in parts, or killed and taken up again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.atomic import canonical_json, sha256_hex
from magdiff_eval.metrics.frechet import RunningStatistics
from magdiff_eval.scoring.engine import DEFAULTS, EngineSettings, open_store, score_part
from magdiff_eval.scoring.extractors import Extractor, Features
from magdiff_eval.scoring.faults import ANY_VIDEO, Expectations, Facts, Fault, commonest_size, judge
from magdiff_eval.scoring.features import FeatureStore
from magdiff_eval.scoring.reading import name_of
from magdiff_eval.scoring.videos import VideoPath, list_videos

_BLOCK = 256
"""Videos whose features are added to statistics at once."""


@dataclass(frozen=True, kw_only=True)
class ScoredVideo:
    """What became of one video."""

    name: str
    content: str
    """SHA-256 of its bytes."""
    facts: Facts | None
    """None where it could not be read."""
    fault: Fault | None
    """Why no extractor counts it."""
    faults: Mapping[str, Fault] = field(default_factory=dict)
    """By extractor's name, why that one alone does not."""

    def counts(self, extractor_name: str) -> bool:
        """Whether the extractor's features of it are part of a score."""
        return self.fault is None and extractor_name not in self.faults

    def row(self) -> dict[str, Any]:
        """Return the video as a line of `rows.jsonl` has it."""
        return {
            "name": self.name,
            "content": self.content,
            "video": self.facts.row() if self.facts else None,
            "fault": self.fault.row() if self.fault else None,
            "faults": {name: fault.row() for name, fault in self.faults.items()},
        }


class ScoredFolder:
    """The videos of a folder, all of them scored.

    Args:
        videos: by name.
        extractors: those that the store was opened for.
        store: where the features are.
        expected: what videos must be; sizes are compared over all of them.

    Raises:
        ValueError: a video that is not scored yet.
    """

    def __init__(
        self,
        videos: Sequence[VideoPath],
        extractors: Sequence[Extractor],
        store: FeatureStore,
        expected: Expectations = ANY_VIDEO,
    ) -> None:
        self.store = store
        self.keys = {extractor.name: key for extractor, key in zip(extractors, store.keys, strict=True)}
        self.stamps = {extractor.name: dict(extractor.stamp) for extractor in extractors}
        contents = [name_of(video, store)[1] for video in videos]
        missing = [video.name for video, name in zip(videos, contents, strict=True) if name not in store.videos]
        if missing:
            raise ValueError(
                f"{len(missing)} videos are not scored, or have changed since, the first is {missing[0]}: score again"
            )
        if expected.equal_sizes and expected.size_px is None:
            found = [store.videos[name] for name in contents]
            expected = replace(expected, size_px=commonest_size(one for one in found if isinstance(one, Facts)))
        self.videos = [self._video(video.name, name, expected) for video, name in zip(videos, contents, strict=True)]

    def _video(self, name: str, content: str, expected: Expectations) -> ScoredVideo:
        found = self.store.videos[content]
        if isinstance(found, Fault):
            return ScoredVideo(name=name, content=content, facts=None, fault=found)
        fault = judge(found, expected)
        rows = {} if fault else {one: self.store.features[key].get(content) for one, key in self.keys.items()}
        if None in rows.values():
            raise ValueError(f"{name} is scored, but not by every extractor of {', '.join(self.keys)}: score it again")
        faults = {one: row for one, row in rows.items() if isinstance(row, Fault)}
        return ScoredVideo(name=name, content=content, facts=found, fault=fault, faults=faults)

    def counted(self, extractor_name: str) -> list[ScoredVideo]:
        """Return the videos that an extractor's score is made of, by name."""
        return [video for video in self.videos if video.counts(extractor_name)]

    def each(self, extractor_name: str) -> Iterator[Features]:
        """Yield the features [items, ...] of every video that counts, by name; one at a time is in memory."""
        return self.store.read(self.keys[extractor_name], [video.content for video in self.counted(extractor_name)])

    def features(self, extractor_name: str) -> NDArray[np.float64]:
        """Return the features of all videos that count, [items of all, d], by name.

        Raises:
            ValueError: no video counts; the message says why the first one does not.
        """
        rows = [row.reshape(len(row), -1).astype(np.float64) for row in self.each(extractor_name)]
        if not rows:
            first = self.videos[0]
            why = first.fault or first.faults[extractor_name]
            raise ValueError(f"none of {len(self.videos)} videos counts; {first.name}: {why.detail} ({why.reason})")
        return np.concatenate(rows)

    def save_statistics(self, extractor_name: str, path: Path, stamp: Mapping[str, Any] | None = None) -> None:
        """Write count, mean and covariance of an extractor's features, to be shared in place of the videos.

        Args:
            extractor_name: whose features.
            path: the `.npz`.
            stamp: joins the extractor's, the reader's, the number of videos and the hash of their contents.

        Raises:
            ValueError: no video counts.
        """
        each = self.each(extractor_name)
        statistics: RunningStatistics | None = None
        while block := [row.reshape(len(row), -1) for row in islice(each, _BLOCK)]:
            statistics = statistics or RunningStatistics(block[0].shape[1])
            statistics.update(np.concatenate(block))
        if statistics is None:
            self.features(extractor_name)  # raises, and says why
            raise AssertionError
        statistics.to_npz(path, self.stamp(extractor_name) | dict(stamp or {}))

    def stamp(self, extractor_name: str) -> dict[str, Any]:
        """Return what an extractor's score depends on: the extractor, the reader, and which videos it counts."""
        counted = self.counted(extractor_name)
        return {
            "extractor": self.stamps[extractor_name],
            "reader": self.store.reader,
            "videos": len(counted),
            "contents_sha256": sha256_hex(canonical_json([video.content for video in counted])),
        }

    def faults(self) -> dict[str, int]:
        """Return how many videos have which fault, of their own or of an extractor: `reason` or `extractor: reason`."""
        found: dict[str, int] = {}
        for video in self.videos:
            names = [video.fault.reason.value] if video.fault else []
            names += [f"{name}: {fault.reason}" for name, fault in video.faults.items()]
            for name in names:
                found[name] = found.get(name, 0) + 1
        return dict(sorted(found.items()))


def score_folder(
    folder: Path,
    extractors: Sequence[Extractor],
    store_folder: Path,
    *,
    expected: Expectations = ANY_VIDEO,
    settings: EngineSettings = DEFAULTS,
    report: Callable[[str], None] = print,
) -> ScoredFolder:
    """Return a folder's videos with the features of every extractor; what the store has already is not done again.

    Args:
        folder: videos, as `list_videos` finds them.
        extractors: the networks.
        store_folder: keeps features, of this folder and of any others.
        expected: what videos must be to count.
        settings: how it is done.
        report: gets lines of progress.

    Raises:
        ValueError: as `list_videos`, or another process writes the store, or an extractor does not do as it should.
    """
    return score_videos(
        list_videos(folder), extractors, store_folder, expected=expected, settings=settings, report=report
    )


def score_videos(
    videos: Sequence[VideoPath],
    extractors: Sequence[Extractor],
    store_folder: Path,
    *,
    expected: Expectations = ANY_VIDEO,
    settings: EngineSettings = DEFAULTS,
    report: Callable[[str], None] = print,
) -> ScoredFolder:
    """Return videos, by name, with the features of every extractor: `score_folder` of any videos."""
    store = open_store(store_folder, extractors)
    num_read = score_part(videos, extractors, store, expected=expected, settings=settings, report=report)
    report(f"{num_read} of {len(videos)} videos read now")
    return ScoredFolder(videos, extractors, store, expected)
