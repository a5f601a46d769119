"""The Inception Score of a set of videos, from a classifier's logits.

exp(E KL(p(y|x) || p(y))), p(y) being the mean of p(y|x) over the same set (Salimans et al. 2016, Section 4). Everything
stays in logarithms, so a class whose probability underflows adds nothing, where the common formula gives NaN.

What the public ones do: torch-fidelity shuffles by RandomState(2020).permutation and takes 10 splits, stylegan-v by
RandomState(42).shuffle and takes 10, TGAN2 neither shuffles nor splits, and reports mean and standard deviation of 10
draws of 2,048 videos. Their splits are those here. torchmetrics differs in how it shuffles, in its splits where N is
not a multiple, and in its standard deviation, which divides by splits - 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from magdiff_eval.metrics.frechet import check_features


def inception_score(
    logits: NDArray[np.floating], splits: int = 1, shuffle_seed: int | None = None
) -> tuple[float, float]:
    """Return mean and standard deviation of the score over splits; the score is from 1 to the number of classes.

    Args:
        logits: [N, classes], before any softmax.
        splits: split i has rows i * N // splits up to (i + 1) * N // splits.
        shuffle_seed: rows are first put in the order of numpy's RandomState(seed).permutation(N); None leaves them.

    Returns:
        The mean, and the standard deviation that divides by `splits` (0 for one split): torch-fidelity's and
        stylegan-v's for the same seed.

    Raises:
        ValueError: a logit that is not finite, splits below 1, or more splits than rows.
    """
    rows = check_features(logits, "logits", 1)
    num_rows = len(rows)
    if not 1 <= splits <= num_rows:
        raise ValueError(f"splits is {splits} for {num_rows} rows: need 1 to {num_rows}")
    if shuffle_seed is not None:
        rows = rows[np.random.RandomState(shuffle_seed).permutation(num_rows)]
    log_p = rows - _log_sum_exp(rows, axis=1)
    scores = []
    for index in range(splits):
        part = log_p[index * num_rows // splits : (index + 1) * num_rows // splits]
        log_marginal = _log_sum_exp(part, axis=0) - np.log(len(part))
        divergence = np.sum(np.exp(part) * (part - log_marginal), axis=1)
        scores.append(np.exp(divergence.mean()))
    return float(np.mean(scores)), float(np.std(scores))


def _log_sum_exp(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    peak = values.max(axis=axis, keepdims=True)
    total: NDArray[np.float64] = peak + np.log(np.exp(values - peak).sum(axis=axis, keepdims=True))
    return total
