"""The ledger as rows for the page, whatever version wrote it: columns that are absent read as empty."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from magdiff_curation.ledger import LEDGER
from magdiff_curation.reasons import Status

_OBJECTS = ("scores", "thresholds", "models", "seconds", "cpu_seconds", "gpu_seconds")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One input, as the ledger has it; sizes in pixels, spans and durations in seconds."""

    source: str
    status: str
    stage: str
    reason: str
    detail: str
    key: str
    caption: str
    made_caption: str
    answer: str
    nouns: str
    label: str
    label_source: str
    category: str
    path: str
    settings_sha256: str
    source_width: float
    source_height: float
    width: float
    height: float
    num_frames: float
    frame_rate: float
    start_seconds: float
    scores: Mapping[str, float]
    thresholds: Mapping[str, float]
    models: Mapping[str, str]
    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float]
    gpu_seconds: Mapping[str, float]

    @property
    def kept(self) -> bool:
        """Whether the input became a clip of the set."""
        return self.status == Status.KEPT

    @property
    def caption_text(self) -> str:
        """The input's caption, or the one that was made for it."""
        return self.caption or self.made_caption

    @property
    def duration_seconds(self) -> float:
        """How long the canonical clip is; 0 where none was made."""
        return self.num_frames / self.frame_rate if self.frame_rate else 0.0


def load_rows(output: Path) -> list[Row]:
    """Return the ledger's rows in its order.

    Raises:
        ValueError: the folder has no ledger.
    """
    path = output / LEDGER
    if not path.is_file():
        raise ValueError(f"{path} is not there: a report is made from a finished curation run's output folder")
    table = pq.read_table(io.BytesIO(path.read_bytes()))
    names = [field.name for field in fields(Row) if field.name in table.column_names]
    return [_row(raw) for raw in table.select(names).to_pylist()]


def _row(raw: dict[str, Any]) -> Row:
    values: dict[str, Any] = {}
    for field in fields(Row):
        if field.name in _OBJECTS:
            values[field.name] = json.loads(raw.get(field.name) or "{}")
        else:
            values[field.name] = raw.get(field.name) or (0.0 if field.type == "float" else "")
    return Row(**values)
