"""Every video's own scores, from its features and its item; what stands in the way of one is a fault of its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from magdiff_eval.scoring.engine import EngineSettings
from magdiff_eval.scoring.faults import Expectations, Fault, Reason
from magdiff_eval.scoring.folder import ScoredFolder, score_videos
from magdiff_eval.scoring.items import ScoredItem
from magdiff_eval.scoring.metric import LoadedMetric, Scores
from magdiff_eval.scoring.videos import VideoPath, companion


@dataclass(frozen=True, kw_only=True)
class MetricOfVideos:
    """What one metric said of every video."""

    scores: Mapping[str, Scores]
    """By video's name."""
    faults: Mapping[str, Fault]
    """By name, of videos that could be read and have no score."""
    folder: ScoredFolder
    """Where its features are."""


def score_alone(metric: LoadedMetric, scored: ScoredFolder, items: Mapping[str, ScoredItem]) -> MetricOfVideos:
    """Return a metric's scores of a folder that its extractor has been shown."""
    return _scores(metric, scored, items, _lacking(metric, [video.name for video in scored.videos], items))


def score_with_companions(
    metric: LoadedMetric,
    videos: Sequence[VideoPath],
    items: Mapping[str, ScoredItem],
    features: Path,
    *,
    expected: Expectations,
    settings: EngineSettings,
) -> MetricOfVideos:
    """Return a metric's scores of videos that are decoded with what their items say belongs to them.

    Raises:
        ValueError: no video has what the metric needs.
    """
    lacking = _lacking(metric, [video.name for video in videos], items)
    shown = [
        replace(video, companions=tuple(companion(getattr(items[video.name], name)) for name in metric.companions))
        for video in videos
        if video.name not in lacking
    ]
    if not shown:
        raise ValueError(f"{metric.extractor.name}: {next(iter(lacking.values())).detail}")
    folder = score_videos(shown, [metric.extractor], features, expected=expected, settings=settings)
    return _scores(metric, folder, items, lacking)


def _lacking(metric: LoadedMetric, names: Sequence[str], items: Mapping[str, ScoredItem]) -> dict[str, Fault]:
    found = {}
    for name in names:
        item = items.get(name, ScoredItem(name=name))
        missing = [field for field in (*metric.needs, *metric.companions) if not getattr(item, field)]
        if missing:
            detail = f"--items says no {' and no '.join(missing)} for it: add what is missing"
            found[name] = Fault(Reason.ITEM_LACKS, detail)
    return found


def _scores(
    metric: LoadedMetric, folder: ScoredFolder, items: Mapping[str, ScoredItem], lacking: Mapping[str, Fault]
) -> MetricOfVideos:
    assert metric.scores is not None, "a score of videos"
    name = metric.extractor.name
    scores, faults = dict[str, Scores](), dict(lacking)
    for video, features in zip(folder.counted(name), folder.each(name), strict=True):
        if video.name in lacking:
            continue
        try:
            scores[video.name] = metric.scores(features, items.get(video.name, ScoredItem(name=video.name)))
        except (ValueError, OSError) as error:  # an item's picture that cannot be read, features without direction
            faults[video.name] = Fault(Reason.NOT_SCORED, str(error))
    for video in folder.videos:
        fault = video.fault or video.faults.get(name)
        if fault is not None and metric.companions:
            faults[video.name] = fault
    return MetricOfVideos(scores=scores, faults=faults, folder=folder)
