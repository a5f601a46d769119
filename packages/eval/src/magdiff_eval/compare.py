"""Compare two results: `python -m magdiff_eval.compare A B [--anyway] [--json]`.

A and B are folders that `magdiff_eval.run` or `magdiff_eval.score` wrote, or their results.json. Prints a table of both
means and of the mean difference with its 95% interval, over the videos that both have a score of.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from magdiff_eval.markdown import markdown
from magdiff_eval.scoring.compare import Compared, Comparison, as_json, compare, load_results


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """Two results side by side."""

    a: Annotated[Path, tyro.conf.Positional]
    """The first: a folder with results.json, or that file."""
    b: Annotated[Path, tyro.conf.Positional]
    """The second; differences are second minus first."""
    anyway: bool = False
    """Compare different protocols too; the table says where they differ."""
    json: bool = False
    """Print JSON instead of Markdown."""


def as_markdown(found: Comparison) -> str:
    """Return a comparison as Markdown."""
    header = ["score", "A", "B", "B - A", "95% interval", "videos", "left out"]
    parts = [f"A: {found.a}\n\nB: {found.b}\n"]
    if found.differences:
        parts.append("**Not the same protocol**: " + "; ".join(found.differences) + "\n")
    if found.model_differences:
        parts.append("What was scored: " + "; ".join(found.model_differences) + "\n")
    parts.append(markdown([("B against A", header, [_line(score) for score in found.scores])]))
    for name, failed in (("A", found.failed_a), ("B", found.failed_b)):
        if failed:
            parts.append(f"{len(failed)} videos of {name} have a fault, the first is {failed[0]}\n")
    return "\n".join(parts)


def _line(score: Compared) -> list[str]:
    interval = "" if score.lower is None else f"{score.lower:+.4f} to {score.upper:+.4f}"
    left_out = f"{score.only_a} of A, {score.only_b} of B" if score.only_a or score.only_b else ""
    pairs = "the sets" if score.num_pairs is None else str(score.num_pairs)
    values = [f"{score.mean_a:.4f}", f"{score.mean_b:.4f}", f"{score.difference:+.4f}"]
    return [score.score, *values, interval, pairs, left_out]


def main() -> None:
    """Read the command line and print."""
    chosen = tyro.cli(CompareSettings, prog="python -m magdiff_eval.compare")
    try:
        found = compare(load_results(chosen.a), load_results(chosen.b), anyway=chosen.anyway)
    except (ValueError, OSError) as error:
        sys.exit(f"compare: {error}")
    print(as_json(found) if chosen.json else as_markdown(found))


if __name__ == "__main__":
    main()
