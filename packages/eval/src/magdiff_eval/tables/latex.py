r"""A table as LaTeX in booktabs' style; the document needs the packages that `PACKAGES` loads (amssymb for ticks).

A table wider than the text is shrunk to it; narrower ones keep their size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from magdiff_eval.tables.layout import MEASURED_HERE, Cell, Layout, Line, lay_out
from magdiff_eval.tables.ours import OurRow
from magdiff_eval.tables.table import Table

PACKAGES = r"\usepackage{booktabs,amssymb,graphicx}"

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "₁": "$_1$",
    "₂": "$_2$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
}
"""`[` and `*` are braced, as `\\\\` at a row's end would read them as its options."""


def as_latex(table: Table, ours: Sequence[OurRow] = ()) -> str:
    """Return a table of the paper with ours below as a LaTeX float, its notes with it."""
    layout = lay_out(table, ours)
    width = len(layout.header)
    columns = "l" * layout.num_leading + "r" * (width - layout.num_leading)
    lines = [
        f"% needs {PACKAGES}",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{_escaped(layout.caption)}}}",
        rf"\label{{tab:magdiff-{layout.number}}}",
        r"\par\smallskip",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_groups(layout),
        _row(layout.header),
        r"\midrule",
        *map(_row, layout.paper),
    ]
    if layout.ours:
        heading = rf"\multicolumn{{{width}}}{{l}}{{\emph{{{MEASURED_HERE}}}}} \\"
        lines += [r"\midrule", heading, *map(_row, layout.ours)]
    lines += [r"\bottomrule", r"\end{tabular}}"]
    notes = [_escaped(remark) for remark in layout.remarks]
    notes += [rf"\textsuperscript{{{number}}}~{_escaped(note)}" for number, note in enumerate(layout.notes, 1)]
    if notes:
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright"]
        lines += [rf"{note}\par" for note in notes]
        lines += [r"\end{minipage}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _groups(layout: Layout) -> list[str]:
    if not layout.groups:
        return []
    cells, rules, begin = [""] * layout.num_leading, "", layout.num_leading + 1
    for name, count in layout.groups:
        cells.append(rf"\multicolumn{{{count}}}{{c}}{{{_escaped(name)}}}")
        rules += rf"\cmidrule(lr){{{begin}-{begin + count - 1}}}"
        begin += count
    return [" & ".join(cells) + r" \\", rules]


def _row(line: Line) -> str:
    return " & ".join(map(_shown, line)) + r" \\"


def _shown(cell: Cell) -> str:
    text = rf"\textbf{{{_escaped(cell.text)}}}" if cell.bold else _escaped(cell.text)
    if cell.interval:
        text += f" {_escaped(cell.interval)}"
    mark = _escaped(cell.flag) + ",".join(map(str, cell.notes))
    return text + (rf"\textsuperscript{{{mark}}}" if mark else "")


def _escaped(text: str) -> str:
    """Return text in which nothing is markup; two hyphens stay two instead of becoming a dash."""
    return re.sub(r"-(?=-)", "-{}", "".join(_ESCAPES.get(letter, letter) for letter in text))
