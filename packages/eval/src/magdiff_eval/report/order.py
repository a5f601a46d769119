"""Which way a score is better, and which prompts a page that cannot hold all of them shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from magdiff_eval.report.runs import PageItem, Run

Better = Literal["higher", "lower", ""]

LOWER_IS_BETTER = ("fvd", "error-inside", "colour-distance")
NEITHER_IS_BETTER = ("motion", "error-outside", "error-flat")
"""They describe a video: little motion, or much change around the subject, is not good or bad by itself."""


def better(score: str) -> Better:
    """Return which values of a score are better; nothing where neither are."""
    if score in NEITHER_IS_BETTER:
        return ""
    return "lower" if score in LOWER_IS_BETTER else "higher"


def worst_first(items: Sequence[PageItem], run: Run, score: str) -> list[PageItem]:
    """Return items by a run's score: failed ones, then from the worst to the best, then those it does not apply to.

    A score that is neither way better counts from its lowest.
    """
    side = -1.0 if better(score) == "lower" else 1.0

    def goodness(item: PageItem) -> float:
        value = run.scores(item.name).get(score)
        if value is not None:
            return side * value
        return -math.inf if run.faults(item.name) else math.inf

    return sorted(items, key=goodness)


def choose(ordered: Sequence[PageItem], count: int) -> list[PageItem]:
    """Return this many items: the first half of them from the front, the others evenly from the rest."""
    if len(ordered) <= count:
        return list(ordered)
    front = (count + 1) // 2
    rest = ordered[front:]
    places = np.linspace(0, len(rest) - 1, count - front).round().astype(int)
    return [*ordered[:front], *(rest[place] for place in places)]
