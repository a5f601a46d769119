"""A table as Markdown: one header row, notes as superscript digits that also read well in a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from magdiff_eval.tables.layout import MEASURED_HERE, Cell, Layout, Line, lay_out
from magdiff_eval.tables.ours import OurRow
from magdiff_eval.tables.table import Table

_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def as_markdown(table: Table, ours: Sequence[OurRow] = ()) -> str:
    """Return a table of the paper with ours below as Markdown, its title and notes with it."""
    layout = lay_out(table, ours)
    width = len(layout.header)
    aligned = [":--" if place < layout.num_leading else "--:" for place in range(width)]
    rows = [_header(layout), aligned, *map(_row, layout.paper)]
    if layout.ours:
        rows += [[f"*{MEASURED_HERE}*", *[""] * (width - 1)], *map(_row, layout.ours)]
    lines = [f"### {_escaped(layout.caption)}", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    for remark in layout.remarks:
        lines += [_escaped(remark), ""]
    lines += [
        f"- {str(number).translate(_SUPERSCRIPT)} {_escaped(note)}" for number, note in enumerate(layout.notes, 1)
    ]
    return "\n".join(lines).rstrip() + "\n"


def _header(layout: Layout) -> list[str]:
    above = [""] * layout.num_leading + [name for name, count in layout.groups for _ in range(count)]
    above += [""] * (len(layout.header) - len(above))
    return [f"{_escaped(group)} {_shown(cell)}".strip() for group, cell in zip(above, layout.header, strict=True)]


def _row(line: Line) -> list[str]:
    return [_shown(cell) for cell in line]


def _shown(cell: Cell) -> str:
    text = f"**{_escaped(cell.text)}**" if cell.bold else _escaped(cell.text)
    mark = cell.flag + ",".join(map(str, cell.notes)).translate(_SUPERSCRIPT)
    return " ".join(part for part in (text, cell.interval, mark) if part)


def _escaped(text: str) -> str:
    """Return text in which nothing is markup; `&` and `_` are escaped only where they could be some."""
    return re.sub(r"([\\`*{}\[\]<>|~#$]|&(?=#?\w+;)|(?<!\w)_|_(?!\w))", r"\\\1", text)
