"""What keeps the scores of two runs on one page from comparing: another listing, or another way of scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from magdiff_eval.report.runs import Run

_OF_ONE_RUN = ("maker", "listing")
"""Entries of a protocol that say what was scored, not how."""


def warnings(runs: Sequence[Run]) -> list[str]:
    """Return a sentence for each run whose listing, or whose way of scoring, is not the first one's."""
    first, found = runs[0], []
    for run in runs[1:]:
        if names := _different(first.stamp, run.stamp):
            found.append(f"{run.title} was run on another listing than {first.title}: {', '.join(names)} of it differ.")
        ways = [_way_of_scoring(either) for either in (first, run)]
        if names := [name for name in _different(*ways) if all(name in way for way in ways)]:
            found.append(f"{run.title} was scored in another way than {first.title}: {', '.join(names)} differ.")
    return [f"{sentence} Their scores do not compare." for sentence in found]


def _different(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    return [name for name in {**a, **b} if a.get(name) != b.get(name)]


def _way_of_scoring(run: Run) -> dict[str, Any]:
    """Return a run's protocol without what made the videos, and without how many of them could be scored."""
    protocol = {name: value for name, value in run.results.protocol.items() if name not in _OF_ONE_RUN}
    return {
        name: {key: entry for key, entry in value.items() if key != "videos"} if isinstance(value, dict) else value
        for name, value in protocol.items()
    }
