"""What a scoring run writes: a row for each video and item, and results with all that they depend on."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from magdiff_eval.scoring.faults import Fault, Reason
from magdiff_eval.scoring.folder import ScoredFolder
from magdiff_eval.scoring.items import ScoredItem
from magdiff_eval.scoring.per_video import MetricOfVideos
from magdiff_eval.scoring.set_scores import SetScore


def rows_of(
    scored: ScoredFolder, items: Mapping[str, ScoredItem], each: Mapping[str, MetricOfVideos]
) -> list[dict[str, Any]]:
    """Return a line for each video, and for each item without one."""
    rows = []
    for video in scored.videos:
        row = video.row()
        row["faults"] |= {name: of.faults[video.name].row() for name, of in each.items() if video.name in of.faults}
        row["scores"] = {score: value for of in each.values() for score, value in of.scores.get(video.name, {}).items()}
        rows.append(row)
    there = {video.name for video in scored.videos}
    fault = Fault(Reason.NOT_THERE, "--items has it, and there is no such video: make it, or take the line out").row()
    rows += [
        {"name": name, "content": None, "video": None, "fault": fault, "faults": {}, "scores": {}}
        for name in items
        if name not in there
    ]
    return rows


def results_of(
    scored: ScoredFolder,
    stamps: Mapping[str, Mapping[str, Any]],
    scores: Mapping[str, SetScore],
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return scores, intervals and protocol as results.json has them; a metric's stamp is its protocol.

    Which videos and which reader are told apart; how many there are belongs to the protocol of the set's scores alone.
    """
    faults = Counter(fault for row in rows for fault in _faults(row))
    packages = {name: version(name) for name in ("magdiff-eval", "torch", "transformers", "numpy")}
    return {
        "protocol": {name: _protocol(stamp) for name, stamp in stamps.items()} | {"reader": scored.store.reader},
        "scores": {name: score.value for name, score in scores.items()},
        "intervals": {name: list(score.interval) for name, score in scores.items() if score.interval is not None},
        "details": {name: {"videos": score.num_videos, **score.more} for name, score in scores.items()},
        "videos": {
            "found": len(scored.videos),
            "counted": {name: stamp["videos"] for name, stamp in stamps.items()},
            "contents_sha256": {name: stamp["contents_sha256"] for name, stamp in stamps.items()},
            "faults": dict(sorted(faults.items())),
        },
        "versions": packages | {"python": platform.python_version()},
    }


def _protocol(stamp: Mapping[str, Any]) -> dict[str, Any]:
    apart = {"reader", "contents_sha256", "of_videos"} | ({"videos"} if stamp["of_videos"] else set())
    return {name: value for name, value in stamp.items() if name not in apart}


def _faults(row: dict[str, Any]) -> list[str]:
    own = [row["fault"]["reason"]] if row["fault"] else []
    return own + [f"{metric}: {fault['reason']}" for metric, fault in row["faults"].items()]
