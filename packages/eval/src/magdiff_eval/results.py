"""A run's rows, kept as they are made, and the files that sum them up.

<output>/rows.jsonl        one line a video, appended as it is scored: a second run goes on from there
<output>/videos/           what was made, what it was made from
<output>/results.json      protocol, versions, means, rows
<output>/results.md        the tables
<output>/report.html       everything to look at
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from magdiff_curation.clips.atomic import canonical_json, write_atomic
from magdiff_eval.items import Row

Table = tuple[str, list[str], list[list[str]]]
"""Title, header, lines."""


class RowFile:
    """The rows of one run on disk.

    Raises:
        ValueError: the folder holds a run with another protocol.
    """

    def __init__(self, output: Path, protocol: dict[str, Any]) -> None:
        self.path = output / "rows.jsonl"
        known = output / "protocol.json"
        wanted = canonical_json(protocol)
        if known.is_file() and known.read_bytes() != wanted:
            raise ValueError(f"{output} holds a run with another protocol ({known}): choose another --output")
        write_atomic(known, wanted)
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.is_file() else []
        # A run that was killed while writing leaves a line without an end: that video is scored again.
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < len(lines):
            write_atomic(self.path, "".join(whole).encode())
        self.rows: list[Row] = [json.loads(line) for line in whole]

    def append(self, row: Row) -> None:
        """Add a row, on disk before this returns."""
        self.rows.append(row)
        with self.path.open("ab") as file:
            file.write(canonical_json(row) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def markdown(tables: list[Table]) -> str:
    """Return the tables as Markdown."""
    parts = []
    for title, header, lines in tables:
        rows = [header, ["---"] * len(header), *lines]
        parts.append(f"### {title}\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n")
    return "\n".join(parts)
