"""The page that people look at after a curation run: `write_report`."""

from magdiff_curation.report.page import REPORT, write_report

__all__ = ["REPORT", "write_report"]
