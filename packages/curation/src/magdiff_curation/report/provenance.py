"""What made the set: runs, settings, thresholds and the models' revisions, as the ledger and `work/` have them."""

from __future__ import annotations

import collections
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magdiff_curation.report.ledger_table import Row
from magdiff_curation.report.markup import NONE, element, number, short, table

_RUN_FIELDS = ("number", "started", "host", "pid", "wall_seconds", "workers", "retries", "deaths")


def read_settings(output: Path) -> dict[str, Any]:
    """Return the full settings, or nothing where `work/settings.json` is absent or no object."""
    return _read_object(output / "work" / "settings.json")


def read_runs(output: Path) -> list[dict[str, Any]]:
    """Return what `work/runs` says of each run, the earliest first.

    A run's notes (`000001.result.json`) join its claim (`000001.json`).
    """
    runs: dict[str, dict[str, Any]] = {}
    for path in sorted((output / "work" / "runs").glob("*.json"), key=lambda path: path.name):
        runs.setdefault(path.name.partition(".")[0], {}).update(_read_object(path))
    return list(runs.values())


def draw_runs(output: Path) -> str:
    """Return the runs as a table of what they have of the usual fields, and the rest to unfold."""
    runs = read_runs(output)
    if not runs:
        return element("p", "work/runs holds no runs.", cls="soft")
    names = [name for name in _RUN_FIELDS if any(name in run for run in runs)]
    lines = [[_shown(run.get(name)) for name in names] for run in runs]
    return table([name.replace("_", " ") for name in names], lines) + _folded("All that the runs say", runs)


def draw_settings(rows: Sequence[Row], settings: dict[str, Any]) -> str:
    """Return settings hashes, models and thresholds with the number of inputs that had them, and the full settings."""
    hashes = collections.Counter(row.settings_sha256 for row in rows)
    models = collections.Counter(item for row in rows for item in row.models.items())
    limits = collections.Counter(item for row in rows for item in row.thresholds.items())
    parts = [
        table(["settings (SHA-256)", "inputs"], [[name or NONE, number(n)] for name, n in sorted(hashes.items())]),
        element("h3", "Models and revisions"),
        table(["stage", "model", "inputs"], [[*item, number(n)] for item, n in sorted(models.items())]),
        element("h3", "Thresholds"),
        table(
            ["threshold", "value", "inputs"],
            [[name, short(float(value)), number(n)] for (name, value), n in sorted(limits.items())],
        ),
    ]
    return "".join(parts) + (_folded("All settings", settings) if settings else "")


def _folded(title: str, value: object) -> str:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return element("details", element("summary", title) + element("pre", text, tabindex="0"), raw=True)


def _shown(value: object) -> str:
    if value is None:
        return NONE
    if isinstance(value, float):
        return number(value, 1)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(each)}" for name, each in sorted(value.items()))
    return str(value) if isinstance(value, str | int) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
