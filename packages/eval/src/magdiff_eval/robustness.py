"""How a checkpoint bears hard sources: `python -m magdiff_eval.robustness --model CHECKPOINT --output FOLDER`.

The paper names low-contrast and noisy pictures as its weak side (Supplement F) and gives no figures. Here the toyworld
benchmark is run over graded contrast, noise, size of the subject and errors of its mask, each by itself, and told as
one sheet beside the run without any. Each level is a run of `magdiff_eval.run toyworld` in a folder of its own, so a
sheet that was stopped goes on, and any level can be looked at.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tyro

from magdiff_curation.clips.atomic import write_atomic
from magdiff_eval.harness.settings import ToyworldCommand
from magdiff_eval.markdown import Table, markdown
from magdiff_eval.run import run
from magdiff_eval.scoring.lines import read_lines

LEVELS: dict[str, tuple[float, ...]] = {
    "contrast": (0.5, 0.25, 0.1),
    "noise": (10, 25, 50),
    "subject_size": (0.75, 0.5, 0.33),
    "mask_error_px": (-6, -3, 3, 6),
}
"""What is changed, by the options of `magdiff_eval.run toyworld`, and how far."""
SCORES = ("background", "action", "class", "nearer-to-own", "error-inside", "error-flat")


@dataclass(frozen=True, kw_only=True)
class RobustnessCommand(ToyworldCommand):
    """Toyworld over graded contrast, noise, size and mask errors of the sources."""


def sheet(settings: RobustnessCommand) -> list[dict[str, Any]]:
    """Run every level that is not done, write sheet.json and sheet.md, and return the lines of the first.

    Raises:
        ValueError: as `run`.
    """
    shared = {name: value for name, value in vars(settings).items() if name in ToyworldCommand.__dataclass_fields__}
    whole = ToyworldCommand(**shared)
    if changed := [
        name for name in LEVELS if getattr(whole, name) != ToyworldCommand.__dataclass_fields__[name].default
    ]:
        raise ValueError(f"levels are set one at a time: leave out {', '.join(changed)}")
    lines = []
    for kind, level in [("none", 0.0), *((kind, level) for kind, levels in LEVELS.items() for level in levels)]:
        change: dict[str, Any] = {} if kind == "none" else {kind: int(level) if kind == "mask_error_px" else level}
        folder = settings.output / (kind if kind == "none" else f"{kind}-{level:g}")
        print(f"== {folder.name}", flush=True)
        results = run(replace(whole, output=folder, **change))
        scores = means_by_task(list(read_lines(folder / "rows.jsonl")))
        lines.append({"kind": kind, "level": level, "scores": scores, "made": results["made"]})
    write_atomic(settings.output / "sheet.json", json.dumps(lines, indent=1).encode())
    write_atomic(settings.output / "sheet.md", markdown([table(lines)]).encode())
    return lines


def means_by_task(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the means of a run's rows, edits' and generated videos' apart: `edit: background`, …"""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name in SCORES:
            if name in row["scores"]:
                values.setdefault(f"{row['name'].partition('-')[0]}: {name}", []).append(row["scores"][name])
    return {name: float(np.mean(found)) for name, found in values.items()}


def table(lines: list[dict[str, Any]]) -> Table:
    """Return a sheet's table."""
    names = list(dict.fromkeys(name for line in lines for name in line["scores"]))
    rows = []
    for line in lines:
        told = [f"{line['scores'][name]:.3f}" if name in line["scores"] else "" for name in names]
        rows.append([line["kind"], "" if line["kind"] == "none" else f"{line['level']:g}", *told])
    return "Hard sources", ["changed", "to", *names], rows


def main() -> None:
    """Read the command line, run, and print the sheet."""
    try:
        lines = sheet(tyro.cli(RobustnessCommand, prog="python -m magdiff_eval.robustness"))
    except (ValueError, OSError) as error:
        sys.exit(f"robustness: {error}")
    print(markdown([table(lines)]))


if __name__ == "__main__":
    main()
