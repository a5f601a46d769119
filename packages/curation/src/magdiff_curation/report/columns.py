"""The table's data: columns rather than rows, repeated texts as numbers into a list; about 300 bytes an input."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from magdiff_curation.report.ledger_table import Row
from magdiff_curation.report.sentences import sentence, stage_of

CODED = ("status", "stage", "reason", "label", "category", "label_source", "settings_sha256")


def columns(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the rows as columns for the page's script; numbers that are not there are null."""
    coded: dict[str, Callable[[Row], str]] = {name: _getter(name) for name in CODED}
    coded["stage"] = lambda row: "" if row.kept else stage_of(row.stage, row.reason)
    coded["thresholds"] = lambda row: json.dumps(row.thresholds, sort_keys=True)
    coded["models"] = lambda row: json.dumps(row.models, sort_keys=True)
    return {
        "rows": len(rows),
        "coded": {name: _coded([read(row) for row in rows]) for name, read in coded.items()},
        "text": {
            "source": [row.source for row in rows],
            "caption": [row.caption_text for row in rows],
            "detail": [row.detail for row in rows],
            "answer": [row.answer for row in rows],
            "nouns": [row.nouns for row in rows],
            "key": [row.key for row in rows],
        },
        "number": {
            "frames": [int(row.num_frames) or None for row in rows],
            "duration": [round(row.duration_seconds, 3) or None for row in rows],
            "width": [int(row.source_width) or None for row in rows],
            "height": [int(row.source_height) or None for row in rows],
            "start": [row.start_seconds or None for row in rows],
        },
        "captionMade": [index for index, row in enumerate(rows) if not row.caption and row.made_caption],
        "scores": _spread([row.scores for row in rows]),
        "seconds": _spread([row.seconds for row in rows]),
        "sentences": {reason: sentence(reason) for reason in sorted({row.reason for row in rows})},
    }


def _getter(name: str) -> Callable[[Row], str]:
    return lambda row: str(getattr(row, name))


def _coded(values: Sequence[str]) -> dict[str, Any]:
    names = sorted(set(values))
    places = {name: place for place, name in enumerate(names)}
    return {"names": names, "codes": [places[value] for value in values]}


def _spread(objects: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    names = sorted({name for item in objects for name in item})
    return {name: [round(item[name], 4) if name in item else None for item in objects] for name in names}
