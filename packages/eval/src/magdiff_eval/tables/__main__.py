"""Print the paper's tables: `python -m magdiff_eval.tables [--table 5] [--results FOLDER ...] [--format html]`.

With --results, rows measured here stand below the paper's; see `results_file.py` for what is read.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from magdiff_curation.clips.atomic import write_atomic
from magdiff_eval.tables import OurRow, Table, as_latex, as_markdown, as_page, paper_table, read_rows
from magdiff_eval.tables.paper import TABLES


@dataclass(frozen=True, kw_only=True)
class TablesCommand:
    """The paper's tables, and what was measured here beside them."""

    table: int | None = None
    """Only this one, 1 to 7."""
    results: tuple[Path, ...] = ()
    """Folders that magdiff_eval.run wrote; those of one method become one row."""
    format: Literal["markdown", "latex", "html"] = "markdown"
    """html is a whole page."""
    output: Path | None = None
    """Write there instead of printing."""


def rendered(settings: TablesCommand) -> str:
    """Return what the command prints.

    Raises:
        ValueError: no such table, a bad results.json, or results that no column takes.
    """
    tables = TABLES if settings.table is None else (paper_table(settings.table),)
    ours = read_rows(settings.results)
    _check_that_all_are_shown(tables, ours)
    if settings.format == "html":
        return as_page(tables, ours)
    render = as_latex if settings.format == "latex" else as_markdown
    return "\n".join(render(table, ours) for table in tables)


def _check_that_all_are_shown(tables: tuple[Table, ...], ours: list[OurRow]) -> None:
    keys = sorted({column.key for table in tables for column in table.columns})
    for row in ours:
        if not any(key in row.values for key in keys):
            which = f"Table {tables[0].number} has" if len(tables) == 1 else "the tables have"
            raise ValueError(
                f"{row.method} has {', '.join(sorted(row.values))}, and {which} no column for any of these, only for "
                f"{', '.join(keys)}: give results of these benchmarks, or another --table"
            )


def main() -> None:
    """Read the command line and print or write."""
    settings = tyro.cli(TablesCommand, prog="python -m magdiff_eval.tables")
    try:
        text = rendered(settings)
        if settings.output is not None:
            write_atomic(settings.output, text.encode())
    except (ValueError, OSError) as error:
        sys.exit(f"tables: {error}")
    if settings.output is None:
        print(text, end="")


if __name__ == "__main__":
    main()
