"""A metric that is ready: what shows videos to a network, and what makes scores of its features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from magdiff_eval.scoring.extractors import Extractor, Features
from magdiff_eval.scoring.items import ScoredItem

Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class LoadedMetric:
    """A metric that is ready."""

    extractor: Extractor
    scores: Callable[[Features, ScoredItem], Scores] | None = None
    """A video's features and its item -> its scores by name; None: only the whole set has one."""
    needs: tuple[str, ...] = ()
    """Fields of an item without which a video has no score."""
    companions: tuple[str, ...] = ()
    """Fields of an item that are decoded with the video; they are needed too."""
    about: str = ""
    """Of the scores, what results must say besides the extractor's stamp."""
