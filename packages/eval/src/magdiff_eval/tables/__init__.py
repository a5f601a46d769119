"""The paper's tables as data, and what was measured here beside them: `python -m magdiff_eval.tables --help`."""

from magdiff_eval.tables.latex import as_latex
from magdiff_eval.tables.markdown import as_markdown
from magdiff_eval.tables.ours import OurRow, read_rows
from magdiff_eval.tables.paper import TABLES, paper_table
from magdiff_eval.tables.table import Column, PaperRow, Table
from magdiff_eval.tables.web import as_html, as_page

__all__ = [
    "TABLES",
    "Column",
    "OurRow",
    "PaperRow",
    "Table",
    "as_html",
    "as_latex",
    "as_markdown",
    "as_page",
    "paper_table",
    "read_rows",
]
