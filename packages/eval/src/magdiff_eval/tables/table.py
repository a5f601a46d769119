"""What a table of the paper is made of: columns that know which score fills them, and rows as they are printed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

METHOD = "method"
"""Where a note stands that is about a row's name."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of scores."""

    key: str
    """`benchmark/score`, as results.json names them: `ucf101/fvd`."""
    group: str = ""
    """What is printed above several columns: `UCF-101`."""
    name: str
    """What is printed above this one: `FVD`."""
    better: Literal["up", "down"] = "up"
    """Where good values lie."""
    decimals: int
    """Digits after the point, as printed; ours are rounded to as many."""
    scale: float = 1.0
    """What our value is multiplied by to be in the paper's unit: 100 for cosines."""
    note: str = ""
    """Footnote."""

    @property
    def arrow(self) -> str:
        return "↑" if self.better == "up" else "↓"


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A row of the paper."""

    method: str
    """As printed, without the number of the reference."""
    attributes: tuple[str, ...] = ()
    """One for each of the table's."""
    cells: tuple[str | None, ...]
    """One for each of the table's columns, as printed; None where the paper prints a dash."""
    proposed: bool = False
    """The paper prints the method's name in bold."""
    other_protocol: str = ""
    """How this row was made otherwise than the table's MagDiff, or nothing."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Footnotes: `METHOD`, an attribute's name or a column's key -> text."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the paper."""

    number: int
    title: str
    """In our words."""
    attributes: tuple[str, ...] = ()
    """Names of the columns that say what a method is."""
    columns: tuple[Column, ...]
    rows: tuple[PaperRow, ...]
    best_among: tuple[str, str] | None = None
    """Attribute and value of the rows that compete for bold, where the paper has not all compete."""
    remarks: tuple[str, ...] = ()
    """What is to be known of the whole table."""


def printed_number(cell: str) -> float:
    """Return the number of a printed cell, without what stands behind it: 27.65 for `27.65 (+2.54)`."""
    found = re.match(r"-?\d+(?:\.\d+)?", cell)
    assert found, cell
    return float(found.group())
