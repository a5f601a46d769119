"""Comma-separated tables, the benchmarks' own and ours of labels and prompts, and what a stamp says of a table.

A byte order mark, Windows line ends, columns in another order, empty rows and empty cells at a row's end are taken as
spreadsheets write them.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from magdiff_curation.clips.atomic import sha256_of_file
from magdiff_eval.layouts.files import fold, read_text
from magdiff_eval.layouts.findings import Findings


@dataclass(frozen=True)
class Row:
    """A row that is not empty."""

    line: int
    """The line of the file on which it begins, counted from 1."""
    cells: dict[str, str]
    """Column -> text, spaces made single; empty where the row is too short."""


def read_rows(path: Path, columns: Sequence[str], remedy: str, findings: Findings) -> list[Row]:
    """Return a table's rows, none where it cannot be read or lacks a column: `columns` must be there, others may."""
    text = read_text(path, remedy, findings)
    lines = _lines(path, text, findings) if text else iter(())
    header = next(lines, (0, []))[1]
    if missing := [column for column in columns if column not in header]:
        if text:
            found = ", ".join(header)
            findings.fault(f"{path} lacks the column {', '.join(map(repr, missing))}, its first row is {found!r}")
        return []
    if twice := [column for column, count in Counter(header).items() if column and count > 1]:
        findings.fault(f"{path} has the column {twice[0]!r} twice: remove one")
    rows = []
    for number, cells in lines:
        if len(cells) > len(header):
            findings.fault(
                f"{path} line {number}: {len(cells)} cells in a table of {len(header)} columns: put texts with commas "
                "in quotes"
            )
            continue
        rows.append(Row(number, dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=True))))
    return rows


def read_keyed(path: Path, key: str, columns: Sequence[str], findings: Findings) -> dict[str, Row]:
    """Return a table's rows by the folded text of their column `key`, in which each must differ."""
    rows: dict[str, Row] = {}
    for row in read_rows(path, [key, *columns], f"give a table with the columns {key}, {', '.join(columns)}", findings):
        name = row.cells[key]
        twin = rows.setdefault(fold(name), row)
        if not name:
            findings.fault(f"{path} line {row.line}: there is no {key}: fill it in, or remove the row")
        elif twin is not row:
            findings.fault(f"{path} line {row.line}: {name} is there already, on line {twin.line}: remove one")
    return rows


def file_stamp(path: Path) -> dict[str, str] | None:
    """Return a file's name and SHA-256; None where there is no file."""
    return {"name": path.name, "sha256": sha256_of_file(path)} if path.is_file() else None


def _lines(path: Path, text: str, findings: Findings) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = [" ".join(cell.split()) for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            findings.fault(f"{path} line {number}: {error}: close every quote, and double those within a text")
            continue
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield number, cells
