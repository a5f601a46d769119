"""Rows measured here, put together from the results of benchmark runs.

A run is of one benchmark and one method, so a method's row is made of several folders. Where one benchmark was run
twice with a method, nothing says which run is meant: both become rows of their own, named after their folders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from magdiff_eval.tables.results_file import RunResults, read_results


@dataclass(frozen=True, kw_only=True)
class OurRow:
    """A row measured here. Keys are columns' (`ucf101/fvd`), values in our unit: cosines from 0 to 1."""

    method: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95% intervals."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What the method is, by the names of the table's attributes: {"HFA": "✓"}."""
    protocol: Mapping[str, str] = field(default_factory=dict)
    """One line that says how a value was made."""
    not_comparable: Mapping[str, str] = field(default_factory=dict)
    """Why a value does not compare with the paper's: "toyworld's extractor". Without an entry it does."""


def read_rows(paths: Sequence[Path]) -> list[OurRow]:
    """Return the rows of results: folders with a results.json, or such files.

    Raises:
        ValueError: a file is missing, given twice or not as it should be, or one method's files disagree on what it is.
    """
    found = [read_results(path) for path in paths]
    for file, count in Counter(run.file.resolve() for run in found).items():
        if count > 1:
            raise ValueError(f"{file} is given twice: give each result once")
    by_method: dict[str, list[RunResults]] = {}
    for run in found:
        by_method.setdefault(run.method, []).append(run)
    return [row for runs in by_method.values() for row in _rows(runs)]


def _rows(runs: list[RunResults]) -> list[OurRow]:
    times = Counter(run.benchmark for run in runs)
    single = [run for run in runs if times[run.benchmark] == 1]
    several = [run for run in runs if times[run.benchmark] > 1]
    names = Counter(run.folder.resolve().name for run in several)
    rows = [_row(single[0].method, single)] if single else []
    for run in several:
        name = run.folder.resolve().name
        rows.append(_row(f"{run.method} ({name if names[name] == 1 else run.folder})", [run]))
    return rows


def _row(method: str, runs: list[RunResults]) -> OurRow:
    attributes: dict[str, str] = {}
    for run in runs:
        for name, value in run.attributes.items():
            if attributes.setdefault(name, value) != value:
                raise ValueError(
                    f"{run.file} says {name} {value} of {run.method}, another file of it {attributes[name]}: "
                    "give different methods different names"
                )
    return OurRow(
        method=method,
        values={run.key(score): value for run in runs for score, value in run.scores.items()},
        intervals={run.key(score): value for run in runs for score, value in run.intervals.items()},
        attributes=attributes,
        protocol={run.key(score): run.protocol_line(score) for run in runs for score in run.scores},
        not_comparable={run.key(score): reason for run in runs for score, reason in run.not_comparable.items()},
    )
