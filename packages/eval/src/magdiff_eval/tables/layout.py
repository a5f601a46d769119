"""A table laid out once for all formats: cells with their marks, numbered notes, and what is bold.

Notes are numbered as a reader meets them: header, rows from left to right. † marks a value of ours that does not
compare with the paper's, ‡ a row of the paper that was made otherwise than its MagDiff; a note says why. Bold is the
best of a column, at the printed precision, among the paper's values and ours that compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from magdiff_eval.tables.ours import OurRow
from magdiff_eval.tables.table import METHOD, Column, PaperRow, Table, printed_number

NOT_COMPARABLE: Literal["†"] = "†"
OTHER_PROTOCOL: Literal["‡"] = "‡"
MEASURED_HERE = "Measured here"
INTERVALS = "Square brackets hold 95% intervals."
EMPTY = "-"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell, without any format's escapes."""

    text: str
    interval: str = ""
    """`[398.20, 430.51]`, or nothing."""
    bold: bool = False
    flag: Literal["", "†", "‡"] = ""
    notes: tuple[int, ...] = ()
    """Numbers of its footnotes."""


Line = tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A table to be written."""

    number: int
    caption: str
    num_leading: int
    """Columns of text before those of numbers: the method and its attributes."""
    groups: tuple[tuple[str, int], ...]
    """What stands above the columns of numbers, and above how many each; empty where nothing does."""
    header: Line
    paper: tuple[Line, ...]
    ours: tuple[Line, ...]
    remarks: tuple[str, ...]
    notes: tuple[str, ...]
    """The first is number 1."""


def lay_out(table: Table, ours: Sequence[OurRow] = ()) -> Layout:
    """Return a table of the paper with ours below; rows of ours that fill none of its columns are left out."""
    ours = [row for row in ours if any(column.key in row.values for column in table.columns)]
    notes = _Notes()
    header = [Cell(text=name) for name in ("Method", *table.attributes)]
    header += [Cell(text=f"{column.name} {column.arrow}", notes=notes.of(column.note)) for column in table.columns]
    best = {column.key: _best(table, column, ours) for column in table.columns}
    paper = tuple(_paper_line(table, row, best, notes) for row in table.rows)
    measured = tuple(_our_line(table, row, best, notes) for row in ours)
    has_intervals = any(cell.interval for line in measured for cell in line)
    groups = tuple((name, len(list(columns))) for name, columns in groupby(column.group for column in table.columns))
    return Layout(
        number=table.number,
        caption=f"Table {table.number} of the paper. {table.title}",
        num_leading=1 + len(table.attributes),
        groups=groups if any(name for name, _ in groups) else (),
        header=tuple(header),
        paper=paper,
        ours=measured,
        remarks=table.remarks + ((INTERVALS,) if has_intervals else ()),
        notes=tuple(notes.texts),
    )


class _Notes:
    """The texts met so far; one text has one number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def of(self, *texts: str) -> tuple[int, ...]:
        given = [_plain(text) for text in texts if text]
        self.texts += [text for text in dict.fromkeys(given) if text not in self.texts]
        return tuple(sorted(self.texts.index(text) + 1 for text in given))


def _paper_line(table: Table, row: PaperRow, best: dict[str, float | None], notes: _Notes) -> Line:
    protocol = f"Another protocol than MagDiff's: {row.other_protocol}." if row.other_protocol else ""
    cells = [
        Cell(
            text=row.method.replace("(Ours)", "(the paper's)"),
            bold=row.proposed,
            flag=OTHER_PROTOCOL if protocol else "",
            notes=notes.of(protocol, row.notes.get(METHOD, "")),
        )
    ]
    for name, value in zip(table.attributes, row.attributes, strict=True):
        cells.append(Cell(text=value, notes=notes.of(row.notes.get(name, ""))))
    competes = _competes(table, dict(zip(table.attributes, row.attributes, strict=True)))
    for column, printed in zip(table.columns, row.cells, strict=True):
        bold = competes and printed is not None and printed_number(printed) == best[column.key]
        cells.append(Cell(text=printed or EMPTY, bold=bold, notes=notes.of(row.notes.get(column.key, ""))))
    return tuple(cells)


def _our_line(table: Table, row: OurRow, best: dict[str, float | None], notes: _Notes) -> Line:
    cells = [Cell(text=_plain(row.method))]
    cells += [Cell(text=_plain(row.attributes.get(name, ""))) for name in table.attributes]
    for column in table.columns:
        if column.key not in row.values:
            cells.append(Cell(text=EMPTY))
            continue
        reason = row.not_comparable.get(column.key, "")
        why = f"Does not compare with the paper's: {reason}." if reason else ""
        how = row.protocol.get(column.key, "")
        ends = [_in_unit(column, end) for end in row.intervals.get(column.key, ())]
        text = _in_unit(column, row.values[column.key])
        cells.append(
            Cell(
                text=text,
                interval=f"[{', '.join(ends)}]" if ends else "",
                bold=not reason and _competes(table, row.attributes) and float(text) == best[column.key],
                flag=NOT_COMPARABLE if reason else "",
                notes=notes.of(why, f"How it was made: {how}." if how else ""),
            )
        )
    return tuple(cells)


def _best(table: Table, column: Column, ours: Sequence[OurRow]) -> float | None:
    """Return the best value of a column as it is printed, or None where nothing competes."""
    place = table.columns.index(column)
    values = [
        printed_number(printed)
        for row in table.rows
        if (printed := row.cells[place]) is not None
        and _competes(table, dict(zip(table.attributes, row.attributes, strict=True)))
    ]
    values += [
        float(_in_unit(column, row.values[column.key]))
        for row in ours
        if column.key in row.values and not row.not_comparable.get(column.key) and _competes(table, row.attributes)
    ]
    return (max if column.better == "up" else min)(values, default=None)


def _competes(table: Table, attributes: Mapping[str, str]) -> bool:
    return table.best_among is None or attributes.get(table.best_among[0]) == table.best_among[1]


def _in_unit(column: Column, value: float) -> str:
    return f"{value * column.scale:.{column.decimals}f}"


def _plain(text: str) -> str:
    return " ".join(text.split())
