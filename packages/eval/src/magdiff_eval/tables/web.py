"""A table as HTML: a section that stands in any page, with nothing outside of it but the style that `STYLE` holds.

Classes: `paper-table` (the section), `best`, `not-comparable` and `other-protocol` (cells), `interval`, `number`,
`group`, `measured-here` (the rows below the paper's), `remark`, `notes`. Notes are links to the list below the table.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib import resources

from magdiff_eval.tables.layout import MEASURED_HERE, NOT_COMPARABLE, OTHER_PROTOCOL, Cell, Layout, Line, lay_out
from magdiff_eval.tables.ours import OurRow
from magdiff_eval.tables.table import Table

STYLE = resources.files(__package__).joinpath("tables.css").read_text(encoding="utf-8")
_CLASSES = {NOT_COMPARABLE: "not-comparable", OTHER_PROTOCOL: "other-protocol"}


def as_html(table: Table, ours: Sequence[OurRow] = ()) -> str:
    """Return a table of the paper with ours below as an HTML section; one page holds each table once, for its ids."""
    layout = lay_out(table, ours)
    spans = [count for _, count in layout.groups] or [1] * (len(layout.header) - layout.num_leading)
    lines = [
        f'<section class="paper-table" id="table-{layout.number}">',
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(layout.caption)}">',
        f"<table><caption>{html.escape(layout.caption)}</caption>",
        "".join(f'<colgroup span="{span}"></colgroup>' for span in (layout.num_leading, *spans)),
        f"<thead>{_head(layout)}</thead>",
        "<tbody>",
        *(_row(layout, line) for line in layout.paper),
        "</tbody>",
    ]
    if layout.ours:
        heading = f'<tr><th scope="rowgroup" colspan="{len(layout.header)}">{MEASURED_HERE}</th></tr>'
        lines += ['<tbody class="measured-here">', heading, *(_row(layout, line) for line in layout.ours), "</tbody>"]
    lines += ["</table></div>", *(f'<p class="remark">{html.escape(remark)}</p>' for remark in layout.remarks)]
    if layout.notes:
        notes = [
            f'<li id="{_anchor(layout, number)}">{html.escape(note)}</li>'
            for number, note in enumerate(layout.notes, 1)
        ]
        lines += ['<ol class="notes">', *notes, "</ol>"]
    return "\n".join([*lines, "</section>"]) + "\n"


def as_page(tables: Sequence[Table], ours: Sequence[OurRow] = ()) -> str:
    """Return a whole page of tables."""
    base = ":root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; } body { margin: 2rem; }"
    body = "".join(as_html(table, ours) for table in tables)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>MagDiff's tables</title><style>{base}\n{STYLE}</style></head><body>\n"
        f"<h1>MagDiff's tables</h1>\n{body}</body></html>\n"
    )


def _head(layout: Layout) -> str:
    if not layout.groups:
        return f"<tr>{''.join(_column(layout, place) for place in range(len(layout.header)))}</tr>"
    upper = "".join(_column(layout, place, ' rowspan="2"') for place in range(layout.num_leading))
    upper += "".join(
        f'<th scope="colgroup" colspan="{count}" class="group">{html.escape(name)}</th>'
        for name, count in layout.groups
    )
    lower = "".join(_column(layout, place) for place in range(layout.num_leading, len(layout.header)))
    return f"<tr>{upper}</tr><tr>{lower}</tr>"


def _column(layout: Layout, place: int, more: str = "") -> str:
    kind = "" if place < layout.num_leading else ' class="number"'
    return f'<th scope="col"{more}{kind}>{_shown(layout, layout.header[place])}</th>'


def _row(layout: Layout, line: Line) -> str:
    cells = []
    for place, cell in enumerate(line):
        names = ["number"] if place >= layout.num_leading else []
        names += ["best"] if cell.bold else []
        names += [_CLASSES[cell.flag]] if cell.flag else []
        kind = f' class="{" ".join(names)}"' if names else ""
        tag, scope = ("td", "") if place else ("th", ' scope="row"')
        cells.append(f"<{tag}{scope}{kind}>{_shown(layout, cell)}</{tag}>")
    return f"<tr>{''.join(cells)}</tr>"


def _shown(layout: Layout, cell: Cell) -> str:
    interval = f' <span class="interval">{html.escape(cell.interval)}</span>' if cell.interval else ""
    links = ",".join(f'<a href="#{_anchor(layout, number)}">{number}</a>' for number in cell.notes)
    mark = f"<sup>{cell.flag}{links}</sup>" if cell.flag or links else ""
    return html.escape(cell.text) + interval + mark


def _anchor(layout: Layout, number: int) -> str:
    return f"table-{layout.number}-note-{number}"
