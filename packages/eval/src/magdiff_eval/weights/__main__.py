"""Say which weights are here and how to get the others: `python -m magdiff_eval.weights [--metric fvd] [--json]`.

The exit status is 1 where something of the metric that was asked for is missing. Nothing is downloaded.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from magdiff_eval.weights.check import USABLE, Checked, check_choice, first_here, is_ready
from magdiff_eval.weights.load import ZOO
from magdiff_eval.weights.registry import METRICS, choices_of


@dataclass(frozen=True, kw_only=True)
class WeightsCommand:
    """Which weights are here, and how to get the others."""

    weights: Path = Path("data/weights")
    """The weights folder, as magdiff_eval.score has it."""
    zoo: Path = ZOO
    """Where toyworld's extractor is."""
    metric: str | None = None
    """Look at this metric alone, and fail where something of it is missing."""
    json: bool = False
    """Print JSON."""


def survey(settings: WeightsCommand) -> dict[str, Any]:
    """Return, for each metric, whether it is ready, and its choices with the state of every file.

    Raises:
        ValueError: no such metric.
    """
    found = {}
    for metric in [settings.metric] if settings.metric is not None else METRICS:
        folder = settings.zoo if metric == "toyworld" else settings.weights
        looked = [(choice, check_choice(choice, folder)) for choice in choices_of(metric)]
        taken = first_here([pair for pair in looked if not pair[0].only_if_asked])
        choices = [
            {
                "name": choice.name,
                "note": choice.note,
                "only_if_asked": choice.only_if_asked,
                "files": [_told(one) for one in checked],
            }
            for choice, checked in looked
        ]
        found[metric] = {"ready": taken is not None and is_ready(taken[1]), "choices": choices}
    return found


def _told(one: Checked) -> dict[str, Any]:
    return {
        "name": one.file.name,
        "state": one.state,
        "path": str(one.path),
        "bytes": one.num_bytes,
        "bytes_published": one.file.num_bytes,
        "sha256": one.sha256,
        "sha256_published": one.file.sha256,
        "told": one.told(),
        "get": one.remedy(),
    }


def table(found: dict[str, Any]) -> str:
    """Return a survey as text, a block a metric."""
    lines = []
    for metric, entry in found.items():
        lines.append(f"{metric}: {'ready' if entry['ready'] else 'NOT READY'}")
        for number, choice in enumerate(entry["choices"]):
            said = f" ({choice['note']})" if choice["note"] else ""
            lines.append(f"  {'or ' if number else ''}{choice['name']}{said}")
            told: set[str] = set()
            for file in choice["files"]:
                lines.append(f"    {file['name']}: {file['told']}")
                if file["state"] not in USABLE and file["get"] not in told:
                    told.add(file["get"])
                    lines.append(f"      get it: {file['get']}")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, print, and exit with 1 where the metric asked for is not ready."""
    settings = tyro.cli(WeightsCommand, prog="python -m magdiff_eval.weights", description=__doc__)
    try:
        found = survey(settings)
    except ValueError as error:
        sys.exit(f"weights: {error}")
    print(json.dumps(found, indent=1) if settings.json else f"weights in {settings.weights}\n\n{table(found)}")
    if settings.metric is not None and not found[settings.metric]["ready"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
