"""Make the page that shows runs' videos: `python -m magdiff_eval.report RUN_FOLDER [RUN_FOLDER ...]`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from magdiff_eval.report.document import write_document


@dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """One page with every method's video side by side per prompt, the worst first."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that magdiff_eval.run wrote, of one benchmark, a method each; the first one's worst comes first."""
    output: Path = Path("report.html")
    """The page: one file, which opens from disk and can be sent."""


def main() -> None:
    """Read the command line and write the page."""
    settings = tyro.cli(ReportCommand, prog="python -m magdiff_eval.report")
    try:
        count = write_document(settings.runs, settings.output)
    except (ValueError, OSError) as error:
        sys.exit(f"report: {error}")
    size = settings.output.stat().st_size / 1e6
    print(f"look at {settings.output}: prompts: {count}, methods: {len(settings.runs)}, {size:.1f} MB")


if __name__ == "__main__":
    main()
