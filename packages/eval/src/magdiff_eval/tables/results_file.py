"""What the tables take from a run's results.json, checked.

Of each file are read `benchmark`, `method` and `scores` {name: number}, and where they are there `intervals`
{score: [lower, upper]}, `not_comparable` {score: reason}, `protocol` {metric: {"scores": [score], ...}, "maker": {...}}
and `attributes` {"HFA": "✓"}, which say what the method is. A reason or an interval for a score that does not exist is
refused: misspelt, it would leave a figure without its dagger.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """One file's content."""

    file: Path
    benchmark: str
    method: str
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    not_comparable: Mapping[str, str]
    protocol: Mapping[str, Any]
    attributes: Mapping[str, str]

    @property
    def folder(self) -> Path:
        return self.file.parent

    def key(self, score: str) -> str:
        """Return the key of the column that a score belongs in."""
        return f"{self.benchmark}/{score}"

    def protocol_line(self, score: str) -> str:
        """Return one line that says how a score was made: of how many videos, seen by what, and made with what."""
        metric: dict[str, Any] = next((entry for entry in self.protocol.values() if _has_score(entry, score)), {})
        extractor, reference = _inner(metric, "extractor"), _inner(metric, "reference")
        parts = [f"{metric['videos']} videos"] if "videos" in metric else []
        parts += [f"{reference['videos']} in the reference"] if "videos" in reference else []
        parts += _told(extractor) + _told({"weights": _inner(extractor, "weights").get("sha256")})
        parts += _told({name: value for name, value in metric.items() if name not in ("videos", "about")})
        about = str(metric.get("about", ""))
        parts += [about] if about not in self.not_comparable.get(score, "") else []
        return "; ".join(filter(None, [", ".join(parts), ", ".join(_told(_inner(self.protocol, "maker")))]))


def read_results(path: Path) -> RunResults:
    """Return the results in a folder, or in its `results.json`.

    Raises:
        ValueError: no such file, or an entry is missing or of another kind; the entry is named.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"there is no {file}: give a folder that magdiff_eval.run wrote") from None
    except ValueError as error:
        raise ValueError(f"{file} is not JSON ({error}): run the benchmark again") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds {type(found).__name__}, not an object: give a file that magdiff_eval.run wrote")
    scores = {name: _number(value, f"{file}: scores.{name}") for name, value in _object(found, "scores", file).items()}
    if not scores:
        raise ValueError(f"{file} has no scores: give a folder that magdiff_eval.run wrote, of a run that ended")
    return RunResults(
        file=file,
        benchmark=_text(found.get("benchmark"), f"{file}: benchmark"),
        method=_text(found.get("method"), f"{file}: method"),
        scores=scores,
        intervals={
            name: _interval(value, f"{file}: intervals.{name}")
            for name, value in _of_scores(found, "intervals", file, scores).items()
        },
        not_comparable={
            name: _text(value, f"{file}: not_comparable.{name}")
            for name, value in _of_scores(found, "not_comparable", file, scores).items()
        },
        protocol=_object(found, "protocol", file),
        attributes={
            name: _text(value, f"{file}: attributes.{name}")
            for name, value in _object(found, "attributes", file).items()
        },
    )


def _object(found: dict[str, Any], name: str, file: Path) -> dict[str, Any]:
    value = found.get(name, {})
    if not isinstance(value, dict):
        raise ValueError(f"{file}: {name} is {value!r}, not an object of names and values")
    return value


def _of_scores(found: dict[str, Any], name: str, file: Path, scores: Mapping[str, float]) -> dict[str, Any]:
    values = _object(found, name, file)
    for score in values:
        if score not in scores:
            near = difflib.get_close_matches(score, scores, n=1, cutoff=0.0)[0]
            raise ValueError(f"{file}: {name} speaks of {score!r}, which is no score there; the nearest is {near!r}")
    return values


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} is {value!r}, not a text: give a file that magdiff_eval.run wrote")
    return " ".join(value.split())


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what} is {value!r}, not a finite number: run the benchmark again, or take the score out")
    return float(value)


def _interval(value: object, what: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{what} is {value!r}, not [lower, upper]")
    lower, upper = (_number(end, what) for end in value)
    if lower > upper:
        raise ValueError(f"{what} is {value!r}, with its ends the wrong way round")
    return lower, upper


def _has_score(entry: object, score: str) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("scores"), list) and score in entry["scores"]


def _inner(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = settings.get(name)
    return value if isinstance(value, dict) else {}


def _told(settings: Mapping[str, Any]) -> list[str]:
    """Return `name value` of every setting that is a text or a number."""
    return [f"{name} {_shown(value)}" for name, value in settings.items() if isinstance(value, str | int | float)]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{40,}", text) else text
