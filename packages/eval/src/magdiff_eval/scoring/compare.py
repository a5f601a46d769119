"""Two results set side by side: means, and what the same videos gained or lost from one to the other.

Videos are paired by name, so what makes one video harder than another falls out of the difference. Its interval is
Student's t over pairs, exact for normal differences and close from some dozens of pairs on. Scores of whole sets, such
as FVD, have no pairs: they stand there as they are, without an interval.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magdiff_eval.scoring.lines import read_lines

Row = dict[str, Any]
"""One video's line."""
OF_THE_MODEL = ("maker",)
"""Entries of a protocol that say what was scored, not how: they may differ, and are shown."""
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Results:
    """One run's results."""

    path: Path
    protocol: dict[str, Any]
    rows: list[Row]
    set_scores: dict[str, float]
    """Scores that the set has as a whole."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One score in both results."""

    score: str
    """Its name."""
    mean_a: float
    mean_b: float
    """Over the pairs; of a score of the whole set, the score."""
    num_pairs: int | None
    """Videos that have the score in both; None for a score of the whole set."""
    only_a: int = 0
    only_b: int = 0
    """Videos left out, as only one has their score."""
    difference: float
    """b minus a."""
    lower: float | None = None
    upper: float | None = None
    """The 95% interval of the mean difference; None for one pair, and for a score of the whole set."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two results."""

    a: str
    b: str
    """Their files."""
    scores: list[Compared]
    differences: list[str]
    """Where the protocols differ; scores then say nothing certain."""
    model_differences: list[str]
    """What of the models is known to differ."""
    failed_a: list[str]
    failed_b: list[str]
    """Names of videos with a fault."""


def load_results(path: Path) -> Results:
    """Return the results in a folder, or in its `results.json`, and the rows beside it.

    Raises:
        ValueError: no results, or another kind of file.
    """
    path = path / "results.json" if path.is_dir() else path
    try:
        found = json.loads(path.read_bytes())
        protocol = dict(found["protocol"])
        rows = list(read_lines(path.with_name("rows.jsonl")))
        names = [row["name"] for row in rows]
        scores = {name: float(value) for name, value in found.get("scores", {}).items() if _is_number(value)}
    except FileNotFoundError:
        raise ValueError(f"there is no {path}: give a folder that magdiff_eval.run or .score wrote") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no results.json with a protocol and rows ({error!r}): score again") from None
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{path} has {twice[0]} twice: score again, into an empty folder")
    return Results(path=path, protocol=protocol, rows=rows, set_scores=scores)


def compare(a: Results, b: Results, *, anyway: bool = False) -> Comparison:
    """Return two results side by side.

    Args:
        a, b: of one protocol.
        anyway: go on where the protocols differ.

    Raises:
        ValueError: the protocols differ, and `anyway` is not set; the first difference is named. Or no score in common.
    """
    found = list(_differences(*_of_both(a.protocol, b.protocol)))
    model = [text for name, text in found if name.partition(".")[0] in OF_THE_MODEL]
    other = [text for name, text in found if name.partition(".")[0] not in OF_THE_MODEL]
    if other and not anyway:
        more = f" ({len(other) - 1} more differ)" if len(other) > 1 else ""
        raise ValueError(
            f"{a.path} and {b.path} have different protocols: {other[0]}{more}; score both the same way, "
            "or give --anyway to see them side by side"
        )
    values = [_scores(results.rows) for results in (a, b)]
    scores = [_paired(name, values[0][name], values[1][name]) for name in values[0] if name in values[1]]
    scores += [
        Compared(
            score=name, mean_a=value, mean_b=b.set_scores[name], num_pairs=None, difference=b.set_scores[name] - value
        )
        for name, value in a.set_scores.items()
        if name in b.set_scores and name not in values[0]  # a mean of videos' scores is compared in pairs
    ]
    scores = [score for score in scores if score.num_pairs != 0]
    if not scores:
        raise ValueError(f"{a.path} and {b.path} have no score of one video in common: score the same videos")
    failed = [[row["name"] for row in results.rows if row.get("fault")] for results in (a, b)]
    return Comparison(
        a=str(a.path), b=str(b.path), scores=scores, differences=other, model_differences=model,
        failed_a=failed[0], failed_b=failed[1],
    )  # fmt: skip


def as_json(found: Comparison) -> str:
    """Return a comparison as JSON."""
    return json.dumps(asdict(found), indent=1, allow_nan=False)


def student_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t, to five digits, for a probability of 0.5 to 0.999.

    Half of the distribution is cos^(degrees - 1) over an angle from 0 to a right one, t being sqrt(degrees) tan(angle).
    """
    angles = np.linspace(0, math.pi / 2, 400_001)
    heights = np.cos(angles) ** (degrees - 1)
    area = np.concatenate([[0.0], np.cumsum(heights[1:] + heights[:-1])])
    angle = np.interp(2 * probability - 1, area / area[-1], angles)
    return float(math.sqrt(degrees) * math.tan(angle))


def _paired(name: str, a: Mapping[str, float], b: Mapping[str, float]) -> Compared:
    common = [video for video in a if video in b]
    values_a, values_b = (np.array([values[video] for video in common], np.float64) for values in (a, b))
    num_pairs = len(common)
    lower, upper = _interval(values_b - values_a) if num_pairs > 1 else (None, None)
    return Compared(
        score=name,
        mean_a=float(values_a.mean()) if common else math.nan,
        mean_b=float(values_b.mean()) if common else math.nan,
        num_pairs=num_pairs,
        only_a=len(a) - num_pairs,
        only_b=len(b) - num_pairs,
        difference=float((values_b - values_a).mean()) if common else math.nan,
        lower=lower,
        upper=upper,
    )


def _interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    count, mean = len(differences), float(differences.mean())
    margin = student_quantile((1 + CONFIDENCE) / 2, count - 1) * float(differences.std(ddof=1)) / math.sqrt(count)
    return mean - margin, mean + margin


def _scores(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Return score -> video -> value: what a row has under `scores`, or else its own numbers."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        for name, value in row["scores"].items():
            if _is_number(value):
                found.setdefault(name, {})[row["name"]] = float(value)
    return found


def _of_both(a: dict[str, Any], b: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two protocols without the metrics that one of them alone has: they have no score in common."""

    def without(mine: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        alone = {name for name, entry in mine.items() if isinstance(entry, dict) and "scores" in entry} - other.keys()
        return {name: entry for name, entry in mine.items() if name not in alone}

    return without(a, b), without(b, a)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _differences(a: object, b: object, name: str = "") -> list[tuple[str, str]]:
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in [*a, *(key for key in b if key not in a)]:
            inner = f"{name}.{key}" if name else str(key)
            if key not in a or key not in b:
                found.append((inner, f"{inner} is in one alone, {json.dumps(a.get(key, b.get(key)))[:80]}"))
            else:
                found += _differences(a[key], b[key], inner)
        return found
    return [] if a == b else [(name, f"{name} is {json.dumps(a)[:80]} and {json.dumps(b)[:80]}")]
