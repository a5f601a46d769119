"""Means, their ranks and intervals, and how far raters agree.

Intervals resample raters with replacement, and keep the videos: they tell how far another panel of the same size could
differ on the same videos. Scores of one rater stay together, for raters use the scale each in their own way. 10,000
resamples of 34 raters are one product of matrices, 0.05 s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magdiff_eval.human.ratings import Rating, Ratings
from magdiff_eval.human.study import HIGHEST, LOWEST

NUM_RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method in one aspect."""

    method: str
    aspect: str
    mean: float
    rank: int
    """1 is best; equal means share a rank."""
    lower: float | None
    upper: float | None
    """The 95% interval of the mean; None for a single rater."""
    num_scores: int


def summarize(found: Ratings, seed: int, num_resamples: int = NUM_RESAMPLES) -> list[Cell]:
    """Return every method's mean in every aspect that it has scores in, by method and aspect."""
    raters = {rater: index for index, rater in enumerate(dict.fromkeys(row.rater for row in found.rows))}
    places = {place: index for index, place in enumerate((m, a) for m in found.methods for a in found.aspects)}
    sums, counts = np.zeros((2, len(raters), len(places)))
    for row in found.rows:
        where = raters[row.rater], places[row.method, row.aspect]
        sums[where] += row.score
        counts[where] += 1
    weights = np.random.default_rng(seed).multinomial(len(raters), [1 / len(raters)] * len(raters), num_resamples)
    totals = weights @ counts
    drawn = np.divide(weights @ sums, totals, out=np.full(totals.shape, np.nan), where=totals > 0)
    tail = (1 - CONFIDENCE) / 2
    means = {place: float(sums[:, i].sum() / counts[:, i].sum()) for place, i in places.items() if counts[:, i].any()}
    cells = []
    for (method, aspect), mean in means.items():
        index = places[method, aspect]
        several = np.count_nonzero(counts[:, index]) > 1
        lower, upper = np.nanquantile(drawn[:, index], [tail, 1 - tail]) if several else (None, None)
        cells.append(
            Cell(
                method=method,
                aspect=aspect,
                mean=mean,
                rank=rank_of(mean, [means[other, aspect] for other in found.methods if (other, aspect) in means]),
                lower=None if lower is None else float(lower),
                upper=None if upper is None else float(upper),
                num_scores=int(counts[:, index].sum()),
            )
        )
    return cells


def rank_of(mean: float, means: list[float]) -> int:
    """Return the rank of a mean among all, 1 for the highest; the last digits of a division do not count."""
    return 1 + sum(other > mean + 1e-9 for other in means)


def ordinal_alpha(rows: list[Rating]) -> float | None:
    """Return Krippendorff's alpha for ordinal scores of one aspect: 1 for full agreement, 0 for that of chance.

    A unit is a video of a method; what a rater left out is missing, not wrong. None where alpha says nothing: no video
    has two scores, or all scores that can be paired are one.

    Raises:
        ValueError: the package that computes it is missing.
    """
    try:
        import krippendorff
    except ModuleNotFoundError:
        raise ValueError("krippendorff is not installed: pip install 'magdiff-eval[human]'") from None
    units = {unit: index for index, unit in enumerate(dict.fromkeys((row.video, row.method) for row in rows))}
    counts = np.zeros((len(units), HIGHEST - LOWEST + 1), np.int64)
    for row in rows:
        counts[units[row.video, row.method], row.score - LOWEST] += 1
    paired = counts[counts.sum(axis=1) > 1]
    if np.count_nonzero(paired.any(axis=0)) < 2:
        return None
    values = np.arange(LOWEST, HIGHEST + 1)
    return float(krippendorff.alpha(value_counts=paired, value_domain=values, level_of_measurement="ordinal"))
