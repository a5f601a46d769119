"""All tables of the paper, by number."""

from __future__ import annotations

from magdiff_eval.tables.ablations import ABLATION, ALPHAS, PROMPTS
from magdiff_eval.tables.comparisons import EDITING, GENERATION, IDENTITY, PEOPLE
from magdiff_eval.tables.table import Table

TABLES = (GENERATION, IDENTITY, EDITING, PEOPLE, ABLATION, PROMPTS, ALPHAS)


def paper_table(number: int) -> Table:
    """Return a table of the paper.

    Raises:
        ValueError: it has no such table.
    """
    for table in TABLES:
        if table.number == number:
            return table
    raise ValueError(f"the paper has no Table {number}: choose from 1 to {len(TABLES)}")
