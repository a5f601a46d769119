"""Score a folder's videos: `python -m magdiff_eval.score --videos A [--reference B] --metrics ... --output FOLDER`.

Leaves rows.jsonl (a line a video: what it is, or why it does not count) and results.json (protocol, scores, versions,
faults). Features are kept in `--features`, so that videos are decoded once, whatever is asked of them later, and a run
that was stopped goes on. `--statistics FILE` keeps mean and covariance of the videos as a reference for others.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tyro

from magdiff_curation.clips.atomic import canonical_json, write_atomic
from magdiff_eval.metrics.frechet import RunningStatistics, frechet_distance, frechet_distance_from_features
from magdiff_eval.metrics.inception import inception_score
from magdiff_eval.scoring.engine import EngineSettings
from magdiff_eval.scoring.extractors import Extractor
from magdiff_eval.scoring.faults import Expectations
from magdiff_eval.scoring.folder import ScoredFolder, score_folder
from magdiff_eval.scoring.loading import FRECHET, ExtractorSettings, load_extractors


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(ExtractorSettings):
    """Score a folder's videos."""

    videos: Path
    """The folder: video files, or sub-folders of numbered frames."""
    reference: Path | None = None
    """What Fréchet distances are to: a folder of videos, or a file that --statistics wrote."""
    output: Path = Path("data/video-scores")
    """Receives rows.jsonl and results.json."""
    features: Path = Path("data/features")
    """Keeps features, for any folders and metrics."""
    statistics: Path | None = None
    """Write the videos' mean and covariance there (.npz); for one metric only."""
    splits: int = 1
    """Splits of the Inception Score."""
    min_frames: int = 2
    """Videos of fewer frames do not count."""
    frame_rate: float | None = None
    """Frames per second that every video must have."""
    equal_sizes: bool = False
    """Only videos of the commonest size count."""
    workers: int = 2
    """Videos decoded at a time."""

    @property
    def expected(self) -> Expectations:
        """What videos must be."""
        return Expectations(min_frames=self.min_frames, frame_rate=self.frame_rate, equal_sizes=self.equal_sizes)


def score(settings: ScoreSettings, extractors: Sequence[Extractor] | None = None) -> dict[str, Any]:
    """Score, write rows.jsonl and results.json, and return the latter's content.

    Args:
        settings: what the command line says.
        extractors: instead of those that the settings name, one for each metric and named as it.

    Raises:
        ValueError: no videos, no reference for a distance, statistics of another protocol, or missing weights.
    """
    needs_reference = [metric for metric in settings.metrics if metric in FRECHET]
    if needs_reference and settings.reference is None and settings.statistics is None:
        raise ValueError(f"{needs_reference[0]} is a distance: give --reference, a folder or an .npz, or --statistics")
    if settings.statistics is not None and len(settings.metrics) > 1:
        raise ValueError(f"--statistics is for one metric, not {', '.join(settings.metrics)}: write one at a time")
    extractors = load_extractors(settings) if extractors is None else extractors
    engine = EngineSettings(workers=settings.workers)
    scored = score_folder(settings.videos, extractors, settings.features, expected=settings.expected, settings=engine)
    if settings.statistics is not None:
        scored.save_statistics(settings.metrics[0], settings.statistics)
    other: ScoredFolder | None = None
    if settings.reference is not None and settings.reference.is_dir() and needs_reference:
        wanted = [extractor for extractor in extractors if extractor.name in needs_reference]
        other = score_folder(settings.reference, wanted, settings.features, expected=settings.expected, settings=engine)
    scores: dict[str, float] = {}
    references: dict[str, dict[str, Any]] = {}
    for metric in settings.metrics:
        if metric not in FRECHET:
            mean, deviation = inception_score(scored.features(metric), settings.splits)
            scores |= {metric: mean} | ({f"{metric} deviation": deviation} if settings.splits > 1 else {})
        elif other is not None:
            references[metric] = other.stamp(metric)
            ddof = settings.protocol.ddof
            scores[metric] = frechet_distance_from_features(scored.features(metric), other.features(metric), ddof=ddof)
        elif settings.reference is not None:
            expected = {name: scored.stamp(metric)[name] for name in ("extractor", "reader")}
            statistics, references[metric] = RunningStatistics.from_npz(settings.reference, expected)
            scores[metric] = _distance(scored, metric, statistics, settings.protocol.ddof)
    results = _results(settings, scored, scores, references)
    rows = b"".join(canonical_json(video.row() | {"scores": {}}) + b"\n" for video in scored.videos)
    write_atomic(settings.output / "rows.jsonl", rows)
    write_atomic(settings.output / "results.json", json.dumps(results, indent=1).encode())
    return results


def _distance(scored: ScoredFolder, metric: str, reference: RunningStatistics, ddof: int) -> float:
    mine = RunningStatistics(len(reference.mean))
    mine.update(scored.features(metric))
    return frechet_distance(mine.mean, mine.covariance(ddof), reference.mean, reference.covariance(ddof))


def _results(
    settings: ScoreSettings, scored: ScoredFolder, scores: dict[str, float], references: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    protocol: dict[str, Any] = {}
    for metric in settings.metrics:
        stamp = scored.stamp(metric)
        how = {"ddof": settings.protocol.ddof} if metric in FRECHET else {"splits": settings.splits}
        protocol[metric] = {"extractor": stamp["extractor"], "videos": stamp["videos"], **how}
        protocol[metric] |= {"reference": references[metric]} if metric in references else {}
    packages = {name: version(name) for name in ("magdiff-eval", "torch", "numpy")}
    return {
        "protocol": protocol | {"reader": scored.store.reader, "expected": asdict(settings.expected)},
        "scores": scores,
        "videos": {
            "folder": str(settings.videos),
            "found": len(scored.videos),
            "counted": {metric: len(scored.counted(metric)) for metric in settings.metrics},
            "contents_sha256": {metric: scored.stamp(metric)["contents_sha256"] for metric in settings.metrics},
            "faults": scored.faults(),
        },
        "versions": packages | {"python": platform.python_version()},
    }


def main() -> None:
    """Read the command line and score."""
    try:
        results = score(tyro.cli(ScoreSettings, prog="python -m magdiff_eval.score"))
    except (ValueError, OSError) as error:
        sys.exit(f"score: {error}")
    for metric, value in results["scores"].items():
        print(f"{metric}: {value:.4f}")
    for fault, count in results["videos"]["faults"].items():
        print(f"{count} videos with {fault}: see rows.jsonl")


if __name__ == "__main__":
    main()
