#!/usr/bin/env python3
"""Take the features of a folder's videos on every GPU of a cluster, for `magdiff_eval.score` to make numbers of.

python pipelines/score_videos.py --videos made --features data/features --metrics fvd
python -m magdiff_eval.score --videos made --features data/features --metrics fvd --reference real.npz --output scores

On a cluster: `ray job submit -- python pipelines/score_videos.py ...`, videos and features in folders that every node
has. Each scorer decodes and extracts some videos at a time and writes a part of its own, and all parts are merged in
the end. After whatever went wrong the same command goes on with what is missing.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.actor_pool import ActorPool

from magdiff_eval.scoring.engine import EngineSettings, open_store, score_part
from magdiff_eval.scoring.extractors import Extractor
from magdiff_eval.scoring.faults import Expectations
from magdiff_eval.scoring.features import merge
from magdiff_eval.scoring.folder import ScoredFolder
from magdiff_eval.scoring.loading import ExtractorSettings, load_extractors
from magdiff_eval.scoring.reading import is_done
from magdiff_eval.scoring.videos import VideoPath, list_videos
from magdiff_model.config import parse
from magdiff_model.precision import pick_device

TRIES = 3
"""Of a part whose scorer died."""
Load = Callable[[ExtractorSettings], Sequence[Extractor]]


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(ExtractorSettings):
    """Take the features of a folder's videos."""

    videos: Path
    """The folder: video files, or sub-folders of numbered frames."""
    features: Path = Path("data/features")
    """Keeps what is found, for any folders and metrics."""
    frame_rate: float | None = None
    """Frames per second that videos must have; others are not scored."""
    workers: int = 2
    """Videos that a scorer decodes at a time; one CPU each."""
    part_videos: int = 256
    """Videos a part."""
    scorers: int = 0
    """Scorers at a time; 0: one a GPU of the cluster, or as many as there are CPUs for."""
    address: str | None = None
    """A Ray cluster's address; by default the cluster that runs this job, or else a Ray of its own."""

    @property
    def expected(self) -> Expectations:
        return Expectations(frame_rate=self.frame_rate)


class Scorer:
    """Extractors on one GPU or some CPUs, in a process of its own."""

    def __init__(self, settings: ScoreSettings, load: Load) -> None:
        self.settings, self.extractors = settings, load(settings)
        self.store = open_store(settings.features, self.extractors)

    def score(self, part: str, videos: Sequence[VideoPath]) -> int:
        """Score videos into a part of its own, and return how many."""
        score_part(
            videos,
            self.extractors,
            self.store,
            part=part,
            expected=self.settings.expected,
            settings=EngineSettings(
                workers=self.settings.workers, ahead=pick_device(self.settings.device).type != "cpu"
            ),
        )
        return len(videos)


def score(settings: ScoreSettings, load: Load = load_extractors) -> ScoredFolder:
    """Score what is not scored yet, and return the folder.

    Raises:
        ValueError: no videos, weights that are not here, another process at the same; or a scorer died again and again.
    """
    extractors = load(settings)
    videos = list_videos(settings.videos)
    store = merge(open_store(settings.features, extractors))
    todo = [video for video in videos if not is_done(video, store, settings.expected)]
    print(f"{len(todo)} of {len(videos)} videos to score", flush=True)
    if todo:
        address = settings.address or os.environ.get("RAY_ADDRESS") or "local"
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        try:
            _on_ray(settings, load, todo)
        except ray.exceptions.RayError as error:
            raise ValueError(f"scoring stopped, what is done stays; run again: {error}") from error
        finally:
            ray.shutdown()
        store = merge(open_store(settings.features, extractors))
    return ScoredFolder(videos, extractors, store, settings.expected)


def _on_ray(settings: ScoreSettings, load: Load, videos: list[VideoPath]) -> None:
    resources: dict[str, Any] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus, cpus = int(resources.get("GPU", 0)), int(resources["CPU"])
    parts = [videos[start : start + settings.part_videos] for start in range(0, len(videos), settings.part_videos)]
    share: dict[str, Any] = {"num_cpus": min(settings.workers, cpus)} | ({"num_gpus": 1} if gpus else {})
    count = min(settings.scorers or gpus or max(1, cpus // settings.workers), len(parts))
    actor = ray.remote(max_restarts=-1, max_task_retries=TRIES - 1, **share)(Scorer)
    scorers = ActorPool([actor.remote(settings, load) for _ in range(count)])
    print(f"{count} scorers on {'GPUs' if gpus else 'CPUs'}", flush=True)
    done, begin = 0, time.monotonic()
    named = [(f"part-{number:05d}", part) for number, part in enumerate(parts)]
    for scored in scorers.map_unordered(lambda scorer, part: scorer.score.remote(*part), named):
        done += scored
        rate = done / (time.monotonic() - begin)
        print(f"{done}/{len(videos)} videos, {rate:.1f} a second, {(len(videos) - done) / rate:.0f} s left", flush=True)


def told(scored: ScoredFolder) -> str:
    """Return what was scored, in a line for each extractor and fault."""
    lines = [f"{name}: {len(scored.counted(name))} of {len(scored.videos)} videos count" for name in scored.keys]
    return "\n".join(lines + [f"{count} videos with {fault}" for fault, count in scored.faults().items()])


def main() -> None:
    try:
        print(told(score(parse(ScoreSettings, sys.argv[1:], "python pipelines/score_videos.py"))))
    except (ValueError, OSError) as error:
        sys.exit(f"score_videos: {error}")


if __name__ == "__main__":
    main()
