"""Scores of a set of videos: the Fréchet distance with its interval, the Inception Score, means of videos' scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magdiff_eval.metrics.frechet import RunningStatistics, frechet_distance, frechet_distance_from_features
from magdiff_eval.metrics.fvd_interval import fvd_with_interval
from magdiff_eval.metrics.inception import inception_score
from magdiff_eval.scoring.compare import CONFIDENCE, student_quantile
from magdiff_eval.scoring.folder import ScoredFolder


@dataclass(frozen=True, kw_only=True)
class SetScore:
    """A score of a set."""

    value: float
    num_videos: int
    interval: tuple[float, float] | None
    """95%: of a mean, Student's t over videos; of a distance, that of all such videos, about the extrapolated one."""
    more: Mapping[str, Any]
    """What else is to be said of it, as JSON."""


def mean_scores(videos: Mapping[str, Mapping[str, float]]) -> dict[str, SetScore]:
    """Return the mean of each score over the videos that have it: video -> score -> value."""
    values: dict[str, list[float]] = {}
    for scores in videos.values():
        for name, value in scores.items():
            values.setdefault(name, []).append(value)
    return {name: _mean(np.array(found)) for name, found in values.items()}


def inception(made: ScoredFolder, metric: str, splits: int) -> SetScore:
    """Return the Inception Score of a folder's videos."""
    value, deviation = inception_score(made.features(metric), splits)
    more = {"deviation_over_splits": deviation} if splits > 1 else {}
    return SetScore(value=value, num_videos=len(made.counted(metric)), interval=None, more=more)


def _mean(values: NDArray[np.float64]) -> SetScore:
    mean, interval = float(values.mean()), None
    if len(values) > 1:
        margin = student_quantile((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
        interval = (mean - float(margin), mean + float(margin))
    return SetScore(value=mean, num_videos=len(values), interval=interval, more={})


def distance_to_folder(
    made: ScoredFolder, real: ScoredFolder, metric: str, *, ddof: int, num_resamples: int, seed: int
) -> SetScore:
    """Return the Fréchet distance of two folders' videos.

    Args:
        made, real: scored with one extractor.
        metric: its name.
        ddof: covariances divide by N - ddof.
        num_resamples: of the interval, 20 or more; 0: none is made.
        seed: of its halves.

    Raises:
        ValueError: too few videos, or as `fvd_with_interval`.
    """
    a, b = made.features(metric), real.features(metric)
    counts = [_clips_per_video(scored, metric) for scored in (made, real)]
    why = None
    if not num_resamples:
        why = "not asked for (--interval-resamples)"
    elif counts[0] is None or counts[0] != counts[1]:
        why = "videos have different numbers of clips"
    elif min(len(a), len(b)) < 2 * (ddof + 1) * counts[0]:
        why = f"fewer than {2 * (ddof + 1)} videos"
    num_videos = len(made.counted(metric))
    if why is not None:
        value = frechet_distance_from_features(a, b, ddof=ddof)
        return SetScore(value=value, num_videos=num_videos, interval=None, more={"no_interval": why})
    assert counts[0] is not None
    found = fvd_with_interval(a, b, ddof=ddof, num_resamples=num_resamples, seed=seed, clips_per_video=counts[0])
    told = {name: value for name, value in asdict(found).items() if name not in ("value", "lower", "upper")}
    return SetScore(value=found.value, num_videos=num_videos, interval=(found.lower, found.upper), more=told)


def distance_to_statistics(made: ScoredFolder, statistics: RunningStatistics, metric: str, *, ddof: int) -> SetScore:
    """Return the Fréchet distance of a folder's videos to kept statistics; they have no videos to draw halves of."""
    features = made.features(metric)
    mine = RunningStatistics(features.shape[1])
    mine.update(features)
    value = frechet_distance(mine.mean, mine.covariance(ddof), statistics.mean, statistics.covariance(ddof))
    more = {"no_interval": "the reference is statistics, not videos"}
    return SetScore(value=value, num_videos=len(made.counted(metric)), interval=None, more=more)


def _clips_per_video(scored: ScoredFolder, metric: str) -> int | None:
    counts = {len(features) for features in scored.each(metric)}
    return counts.pop() if len(counts) == 1 else None
