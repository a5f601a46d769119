"""The ledger: one row for every input, kept, dropped or failed, with the reason and every score behind it.

`ledger.parquet` opens in pandas, DuckDB or any spreadsheet with Parquet support; `summary.json` holds its counts.
Inputs of earlier runs into the same folder stay in it.
"""

from __future__ import annotations

import collections
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from magdiff_curation.clips.atomic import canonical_json, read_many, write_atomic
from magdiff_curation.reasons import Status
from magdiff_curation.state import ClipState

LEDGER, SUMMARY = "ledger.parquet", "summary.json"
_TEXT = (
    "source status stage reason detail key source_sha256 fingerprint caption made_caption augmented_caption answer "
    "nouns label label_source category path"
)
_JSON = ("scores", "thresholds", "models", "seconds", "cpu_seconds", "gpu_seconds", "reused")
_NUMBERS = "source_width source_height width height num_frames"
_SCHEMA = pa.schema(
    [pa.field(name, pa.string()) for name in _TEXT.split()]
    + [pa.field(name, pa.int32()) for name in _NUMBERS.split()]
    + [pa.field(name, pa.float64()) for name in ("frame_rate", "start_seconds", "end_seconds", "seconds_total")]
    + [pa.field(name, pa.string()) for name in (*_JSON, "settings_sha256")]
)


def write_ledger(output: Path, states: list[ClipState]) -> dict[str, Any]:
    """Write the ledger and its summary, and return the summary of this run's inputs.

    Raises:
        AssertionError: an input without an outcome; kept + dropped + failed must be all of them.
    """
    rows = {state.source: _row(state) for state in states}
    counts = collections.Counter(state.status for state in states)
    assert sum(counts[status] for status in Status) == len(states) == len(rows), f"inputs without an outcome: {counts}"
    if (output / LEDGER).is_file():
        rows = {row["source"]: row for row in pq.read_table(_ledger_of(output)).to_pylist()} | rows
    table = pa.Table.from_pylist([rows[name] for name in sorted(rows)], schema=_SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    write_atomic(output / LEDGER, buffer.getvalue())
    summary = {
        "inputs": len(states),
        **{str(status): counts[status] for status in Status},
        "reasons": dict(sorted(collections.Counter(str(state.reason) for state in states).items())),
        "labels": dict(
            sorted(collections.Counter(state.label for state in states if state.status == Status.KEPT).items())
        ),
    }
    write_atomic(output / SUMMARY, json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n")
    return summary


def known_fingerprints(output: Path) -> dict[str, str]:
    """Return the fingerprints of the clips that the folder's ledger holds as kept, by key."""
    if not (output / LEDGER).is_file():
        return {}
    rows = pq.read_table(_ledger_of(output), columns=["key", "status", "fingerprint"]).to_pylist()
    return {row["key"]: row["fingerprint"] for row in rows if row["status"] == Status.KEPT and row["fingerprint"]}


def _ledger_of(output: Path) -> io.BytesIO:
    return io.BytesIO(read_many([output / LEDGER])[0])


def describe(summary: dict[str, Any], states: list[ClipState]) -> str:
    """Return the summary as lines to read: what was kept, dropped and failed, why, and an example of each reason."""
    lines = [f"{summary['inputs']} inputs: " + ", ".join(f"{summary[status]} {status}" for status in Status)]
    examples = {state.reason: state for state in reversed(states)}
    for reason, count in sorted(summary["reasons"].items(), key=lambda item: -item[1]):
        example = examples[reason]
        about = f"{example.source}: {example.detail}" if example.detail else f"{example.source}: {example.label}"
        lines.append(f"  {count:6d}  {reason:24s} e.g. {about}")
    return "\n".join(lines)


def _row(state: ClipState) -> dict[str, Any]:
    row = {field.name: getattr(state, field.name, None) for field in _SCHEMA}
    row["nouns"] = ", ".join(state.nouns)
    row["seconds_total"] = round(sum(state.seconds.values()), 4)
    for name in _JSON:
        row[name] = canonical_json(getattr(state, name)).decode()
    return row
