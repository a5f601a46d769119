"""Score a folder's videos: `python -m magdiff_eval.score --videos A [--reference B] --metrics ... --output FOLDER`.

Leaves rows.jsonl (a line a video: its scores, or why it has none) and results.json (protocol, scores with intervals,
versions, faults). Features are kept in `--features`, so that videos are decoded once, whatever is asked of them later,
and a run that was stopped goes on. `--items` says what belongs to each video: prompt, subject, source.
`--statistics FILE` keeps mean and covariance of the videos as a reference for others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from magdiff_curation.clips.atomic import canonical_json, sha256_of_file, write_atomic
from magdiff_eval.metrics.frechet import RunningStatistics
from magdiff_eval.scoring.engine import EngineSettings
from magdiff_eval.scoring.extractors import Extractor
from magdiff_eval.scoring.faults import Expectations
from magdiff_eval.scoring.folder import ScoredFolder, score_folder, score_videos
from magdiff_eval.scoring.items import ScoredItem, read_items
from magdiff_eval.scoring.loading import FRECHET, ExtractorSettings, load_metrics
from magdiff_eval.scoring.metric import LoadedMetric
from magdiff_eval.scoring.networks import ClipExtractor, first_frames
from magdiff_eval.scoring.per_video import MetricOfVideos, score_alone, score_with_companions
from magdiff_eval.scoring.results import results_of, rows_of
from magdiff_eval.scoring.set_scores import (
    SetScore,
    distance_to_folder,
    distance_to_statistics,
    inception,
    mean_scores,
)
from magdiff_eval.scoring.videos import VideoPath, list_videos
from magdiff_model.precision import pick_device


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(ExtractorSettings):
    """Score a folder's videos."""

    videos: Path
    """The folder: video files, or sub-folders of numbered frames."""
    items: Path | None = None
    """What belongs to each video, a .jsonl or .csv with a line a video: name, prompt, references, source, masks …"""
    only_items: bool = False
    """Leave out videos that --items does not name."""
    reference: Path | None = None
    """What Fréchet distances are to: a folder of videos, or a file that --statistics wrote."""
    reference_frames: int | None = None
    """Of the reference's videos only so many frames count, from the first on; all do otherwise."""
    reference_stride: int = 1
    """From one of these frames to the next."""
    output: Path = Path("data/video-scores")
    """Receives rows.jsonl and results.json."""
    features: Path = Path("data/features")
    """Keeps features, for any folders and metrics."""
    statistics: Path | None = None
    """Write the videos' mean and covariance there (.npz); for one metric only."""
    splits: int = 1
    """Splits of the Inception Score."""
    interval_resamples: int = 100
    """Pairs of halves that a Fréchet distance's interval is made from; 0: no interval."""
    seed: int = 0
    """Of those halves."""
    min_frames: int = 2
    """Videos of fewer frames do not count."""
    frame_rate: float | None = None
    """Frames per second that every video must have."""
    equal_sizes: bool = False
    """Only videos of the commonest size count."""
    workers: int = 2
    """Videos decoded at a time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reference_stride != 1 and self.reference_frames is None:
            raise ValueError("--reference-stride is between --reference-frames: give them too")
        if 0 < self.interval_resamples < 20:
            raise ValueError(
                f"--interval-resamples is {self.interval_resamples}: give 20 or more, or 0 for no interval"
            )
        if self.statistics is not None and self.reference is not None and self.reference_frames is not None:
            raise ValueError("--statistics with --reference-frames are of a reference: leave --reference out")

    @property
    def expected(self) -> Expectations:
        """What videos must be."""
        return Expectations(min_frames=self.min_frames, frame_rate=self.frame_rate, equal_sizes=self.equal_sizes)

    @property
    def engine(self) -> EngineSettings:
        """How videos are read."""
        return EngineSettings(workers=self.workers, ahead=pick_device(self.device).type != "cpu")


def score(settings: ScoreSettings, metrics: Mapping[str, LoadedMetric] | None = None) -> dict[str, Any]:
    """Score, write rows.jsonl and results.json, and return the latter's content.

    Args:
        settings: what the command line says.
        metrics: instead of those that the settings name.

    Raises:
        ValueError: no videos, no reference for a distance, statistics of another protocol, items that are wrong, or
            missing weights.
    """
    needs_reference = [metric for metric in settings.metrics if metric in FRECHET]
    if needs_reference and settings.reference is None and settings.statistics is None:
        raise ValueError(f"{needs_reference[0]} is a distance: give --reference, a folder or an .npz, or --statistics")
    if settings.statistics is not None and len(settings.metrics) > 1:
        raise ValueError(f"--statistics is for one metric, not {', '.join(settings.metrics)}: write one at a time")
    items = read_items(settings.items) if settings.items is not None else {}
    videos = _chosen(settings, items)
    metrics = load_metrics(settings) if metrics is None else metrics
    if settings.statistics is not None and settings.reference_frames is not None:
        metrics = {name: replace(metric, extractor=_of_reference(settings, metric)) for name, metric in metrics.items()}
    shared = [metric.extractor for metric in metrics.values() if not metric.companions]
    how: dict[str, Any] = {"expected": settings.expected, "settings": settings.engine}
    scored = score_videos(videos, shared, settings.features, **how)
    if settings.statistics is not None:
        scored.save_statistics(settings.metrics[0], settings.statistics)
    scores: dict[str, SetScore] = {}
    stamps: dict[str, dict[str, Any]] = {}
    each: dict[str, MetricOfVideos] = {}
    not_scored: dict[str, str] = {}
    for name, metric in metrics.items():
        if metric.scores is None:
            stamps[name] = scored.stamp(name)
            try:
                found = _of_the_set(settings, scored, name, metric, how, stamps[name])
            except ValueError as error:  # such as a single video: the other metrics' scores stand
                if len(metrics) == 1:
                    raise
                found, not_scored[name] = {}, str(error)
        else:
            each[name] = (
                score_with_companions(metric, videos, items, settings.features, **how)
                if metric.companions
                else score_alone(metric, scored, items)
            )
            found = mean_scores(each[name].scores)
            stamps[name] = each[name].folder.stamp(name)
        stamps[name] |= {"scores": list(found), "of_videos": metric.scores is not None} | (
            {"about": metric.about} if metric.about else {}
        )
        scores |= found
    rows = rows_of(scored, items, each)
    results = results_of(scored, stamps, scores, rows)
    results["not_scored"] = not_scored
    results["protocol"]["expected"] = asdict(settings.expected)
    if settings.items is not None:
        results["protocol"]["items_sha256"] = sha256_of_file(settings.items)
    results["videos"]["folder"] = str(settings.videos)
    write_atomic(settings.output / "rows.jsonl", b"".join(canonical_json(row) + b"\n" for row in rows))
    write_atomic(settings.output / "results.json", json.dumps(results, indent=1).encode())
    return results


def _chosen(settings: ScoreSettings, items: Mapping[str, ScoredItem]) -> list[VideoPath]:
    videos = list_videos(settings.videos)
    named = [video for video in videos if video.name in items]
    if items and not named:
        raise ValueError(
            f"no video of {settings.videos} has an item: the first video is {videos[0].name}, the first item "
            f"{next(iter(items))}: name items as their videos"
        )
    return named if settings.only_items else videos


def _of_reference(settings: ScoreSettings, metric: LoadedMetric) -> Extractor:
    """Return a metric's extractor as it sees the reference's videos."""
    if settings.reference_frames is None:
        return metric.extractor
    assert isinstance(metric.extractor, ClipExtractor), "of clips"
    return first_frames(metric.extractor, settings.reference_frames, settings.reference_stride)


def _of_the_set(
    settings: ScoreSettings,
    scored: ScoredFolder,
    name: str,
    metric: LoadedMetric,
    how: dict[str, Any],
    stamp: dict[str, Any],
) -> dict[str, SetScore]:
    """Return a set's score of one metric, and add to its stamp how it was made."""
    if name not in FRECHET:
        stamp["splits"] = settings.splits
        return {name: inception(scored, name, settings.splits)}
    stamp["ddof"] = ddof = settings.protocol.ddof
    if settings.reference is None:
        return {}
    seen = _of_reference(settings, metric)
    if settings.reference.is_dir():
        real = score_folder(settings.reference, [seen], settings.features, **how)
        stamp["reference"] = real.stamp(name) | {"faults": real.faults()}
        resamples = settings.interval_resamples
        return {name: distance_to_folder(scored, real, name, ddof=ddof, num_resamples=resamples, seed=settings.seed)}
    expected = {"extractor": dict(seen.stamp), "reader": scored.stamp(name)["reader"]}
    statistics, stamp["reference"] = RunningStatistics.from_npz(settings.reference, expected)
    return {name: distance_to_statistics(scored, statistics, name, ddof=ddof)}


def reference_faults(results: dict[str, Any]) -> list[str]:
    """Return a line for each fault that keeps videos of a reference from counting."""
    return [
        f"{name}: {count} of the reference's videos with {fault}"
        for name, entry in results["protocol"].items()
        if isinstance(entry, dict)
        for fault, count in entry.get("reference", {}).get("faults", {}).items()
    ]


def main() -> None:
    """Read the command line and score."""
    try:
        results = score(tyro.cli(ScoreSettings, prog="python -m magdiff_eval.score"))
    except (ValueError, OSError) as error:
        sys.exit(f"score: {error}")
    for name, value in results["scores"].items():
        interval = results["intervals"].get(name)
        told = f" (95%: {interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
        print(f"{name}: {value:.4f}{told}, {results['details'][name]['videos']} videos")
    for line in reference_faults(results):
        print(line)
    for name, why in results["not_scored"].items():
        print(f"{name}: not scored: {why}")
    for fault, count in results["videos"]["faults"].items():
        print(f"{count} videos with {fault}: see rows.jsonl")


if __name__ == "__main__":
    main()
