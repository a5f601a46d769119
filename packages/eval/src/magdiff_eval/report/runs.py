"""What the page takes from run folders, checked: items, scores, faults, and where the videos are.

All runs must be of one benchmark. Those of another listing are let in, since the videos can still be looked at;
`differences.py` says so.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from magdiff_eval.scoring.faults import Reason
from magdiff_eval.scoring.lines import read_lines
from magdiff_eval.tables.results_file import RunResults, read_results

_OF_AN_ITEM = ("name", "group", "task", "prompt")


@dataclass(frozen=True, kw_only=True)
class PageItem:
    """One prompt."""

    name: str
    group: str
    task: str
    prompt: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """One method's run."""

    folder: Path
    title: str
    """The method's name; with its folder's where several runs have the same."""
    results: RunResults
    more: Mapping[str, Any]
    """All that results.json holds."""
    stamp: Mapping[str, Any]
    """What the listing depends on."""
    items: Mapping[str, PageItem]
    rows: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, str]
    """Why videos could not be made, by name."""

    def scores(self, name: str) -> dict[str, float]:
        """Return a video's scores, the finite ones."""
        return {score: float(value) for score, value in self._row(name).get("scores", {}).items() if _is_number(value)}

    def faults(self, name: str) -> list[str]:
        """Return a sentence for each thing that is wrong with a video or its scores.

        A metric that asks for what the item does not have, such as a source of a generated video, is no fault.
        """
        if name not in self.items:
            return ["this run does not have the prompt"]
        row = self._row(name)
        if name in self.failed and (not row or row.get("fault")):
            return [f"not made: {self.failed[name]}"]
        if not row:
            return ["rows.jsonl does not have it: run the benchmark to its end"]
        whole = [_told(row["fault"])] if row.get("fault") else []
        each = [(metric, fault) for metric, fault in row.get("faults", {}).items() if _is_real(fault)]
        return whole + [f"{metric}: {_told(fault)}" for metric, fault in each if _told(fault) not in whole]

    def size_px(self, name: str) -> tuple[int, int] | None:
        """Return a video's width and height, where its row says them."""
        video = self._row(name).get("video") or {}
        width, height = video.get("width"), video.get("height")
        return (width, height) if isinstance(width, int) and isinstance(height, int) and width and height else None

    def _row(self, name: str) -> Mapping[str, Any]:
        return self.rows.get(name, {})


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Return the runs in folders, in this order.

    Raises:
        ValueError: no folders, one given twice, one that is no finished run's, or runs of several benchmarks.
    """
    if not folders:
        raise ValueError("there are no runs: give one folder or more that magdiff_eval.run wrote")
    for folder, count in Counter(folder.resolve() for folder in folders).items():
        if count > 1:
            raise ValueError(f"{folder} is given {count} times: give it once")
    results = [read_results(folder) for folder in folders]
    other = next((found for found in results if found.benchmark != results[0].benchmark), None)
    if other is not None:
        raise ValueError(
            f"{results[0].folder} is a run of {results[0].benchmark}, {other.folder} one of {other.benchmark}: "
            "give runs of one benchmark, and make a page for each"
        )
    titles = _titles(folders, [found.method for found in results])
    return [_read(folder, title, found) for folder, title, found in zip(folders, titles, results, strict=True)]


def all_items(runs: Sequence[Run]) -> list[PageItem]:
    """Return every item of any run, in the first run's order, then others'; of one name, the first run's."""
    items: dict[str, PageItem] = {}
    for run in runs:
        for name, item in run.items.items():
            items.setdefault(name, item)
    return list(items.values())


def video_scores(runs: Sequence[Run]) -> list[str]:
    """Return the names of scores that single videos have, in the order of the runs' results."""
    there = {score for run in runs for name in run.rows for score in run.scores(name)}
    named = [score for run in runs for score in run.results.scores]
    return list(dict.fromkeys([score for score in named if score in there] + sorted(there)))


def _read(folder: Path, title: str, results: RunResults) -> Run:
    path = folder / "listing.json"
    try:
        found = json.loads(path.read_bytes())
        benchmark, stamp = found["benchmark"], dict(found["stamp"])
        items = [PageItem(**{key: _text(entry[key]) for key in _OF_AN_ITEM}) for entry in found["items"]]
    except FileNotFoundError:
        raise ValueError(f"there is no {path}: give a folder that magdiff_eval.run wrote") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no listing with a stamp and items ({error!r}): run the benchmark again") from None
    if benchmark != results.benchmark:
        raise ValueError(f"{path} is of {benchmark!r}, results.json of {results.benchmark!r}: run the benchmark again")
    _check_names(path, [item.name for item in items])
    return Run(
        folder=folder,
        title=title,
        results=results,
        more=json.loads(results.file.read_bytes()),
        stamp=stamp,
        items={item.name: item for item in items},
        rows=_by_name(folder / "rows.jsonl"),
        failed={name: str(row.get("reason", "")) for name, row in _by_name(folder / "failed.jsonl").items()},
    )


def _by_name(path: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in read_lines(path) if isinstance(row.get("name"), str)}


def _check_names(path: Path, names: Iterable[str]) -> None:
    """Names become paths in the run's folder, and must not lead out of it."""
    for name, count in Counter(names).items():
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts or "\0" in name:
            raise ValueError(f"{path} has an item named {name!r}, which is no path in the folder: name it another way")
        if count > 1:
            raise ValueError(f"{path} has {name!r} {count} times: run the benchmark again")


def _titles(folders: Sequence[Path], methods: Sequence[str]) -> list[str]:
    alike = Counter(methods)
    titles = [m if alike[m] == 1 else f"{m} ({f.resolve().name})" for f, m in zip(folders, methods, strict=True)]
    alike = Counter(titles)
    return [t if alike[t] == 1 else f"{m} ({f})" for f, m, t in zip(folders, methods, titles, strict=True)]


def _told(fault: Mapping[str, Any]) -> str:
    reason, detail = str(fault.get("reason", "")).replace("_", " "), str(fault.get("detail", ""))
    return f"{reason}: {detail}" if reason and detail else reason or detail or "no reason is given"


def _is_real(fault: Mapping[str, Any]) -> bool:
    return fault.get("reason") != Reason.ITEM_LACKS


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
