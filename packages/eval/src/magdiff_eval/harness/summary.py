"""What a run says of itself: results.json, the tables beside the paper's, a line for each group, and the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from magdiff_curation.clips.atomic import write_atomic
from magdiff_eval.harness.folder import RunFolder
from magdiff_eval.layouts.item import Listing
from magdiff_eval.markdown import Table, markdown
from magdiff_eval.scoring.lines import read_lines
from magdiff_eval.tables import TABLES, as_html, as_latex, as_markdown, read_rows

PAPER_VIDEOS = {"davis": 64, "ucf101": 10_000, "msrvtt": 2_990}
"""Videos that the paper's scores are of, where it says; of DAVIS four edits of 16."""
_NOT_PUBLISHED = "not comparable with published numbers"


@dataclass(frozen=True, kw_only=True)
class Method:
    """Who made a run's videos."""

    name: str
    """As tables have it."""
    stamp: Mapping[str, Any]
    """All that the videos depend on."""
    attributes: Mapping[str, str]
    """What it is, by the names that the paper's tables have."""


def complete(
    results: dict[str, Any], method: Method, listing: Listing, folder: RunFolder, num_frames: int
) -> dict[str, Any]:
    """Return a run's results: what its videos score, with the benchmark, the method, and what does not compare."""
    benchmark, protocol = listing.stamp["benchmark"], dict(results["protocol"])
    protocol.pop("items_sha256", None)  # of paths, which differ from folder to folder; the listing's stamp says it all
    facts = [folder.made(item) for item in listing.items if folder.is_made(item)]
    nulls = sum("null_mask" in fact for fact in facts)
    return {
        "benchmark": benchmark,
        "method": method.name,
        "attributes": dict(method.attributes),
        **results,
        "not_comparable": _not_comparable(results, benchmark),
        "protocol": protocol | {"num_frames": num_frames, "listing": listing.stamp, "maker": dict(method.stamp)},
        "made": {"items": len(listing.items), "made_here": len(facts), "null_masks": nulls},
    }


def write_summary(results: dict[str, Any], listing: Listing, folder: RunFolder) -> str:
    """Write results.json, results.md, results.tex, tables.html; return the Markdown."""
    output = folder.output
    write_atomic(output / "results.json", json.dumps(results, indent=1).encode())
    ours = read_rows([output])
    columns = {f"{results['benchmark']}/{score}" for score in results["scores"]}
    tables = [table for table in TABLES if columns & {column.key for column in table.columns}]
    own = [_scores_table(results), _groups_table(listing, list(read_lines(output / "rows.jsonl")))]
    text = "\n".join([*(as_markdown(table, ours) for table in tables), markdown(own)])
    write_atomic(output / "results.md", text.encode())
    write_atomic(output / "results.tex", "\n".join(as_latex(table, ours) for table in tables).encode())
    write_atomic(output / "tables.html", "\n".join(as_html(table, ours) for table in tables).encode())
    return text


def _not_comparable(results: Mapping[str, Any], benchmark: str) -> dict[str, str]:
    found: dict[str, str] = {}
    printed = {column.key for table in TABLES for column in table.columns}
    for metric in results["protocol"].values():
        for score in metric.get("scores", []) if isinstance(metric, dict) else []:
            count, wanted = results["details"][score]["videos"], PAPER_VIDEOS.get(benchmark)
            reasons = [metric["about"]] if _NOT_PUBLISHED in metric.get("about", "") else []
            reasons += (
                [f"{count:,} videos, the paper's are of {wanted:,}"]
                if wanted and count != wanted and f"{benchmark}/{score}" in printed
                else []
            )
            if reasons:
                found[score] = "; ".join(reasons)
    return found


def _scores_table(results: Mapping[str, Any]) -> Table:
    lines = []
    for score, value in results["scores"].items():
        interval = results["intervals"].get(score)
        told = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""
        lines.append([score, f"{value:.4f}", told, str(results["details"][score]["videos"])])
    return "All scores", ["score", "value", "95% interval", "videos"], lines


def _groups_table(listing: Listing, rows: list[dict[str, Any]]) -> Table:
    """Return the means of videos' scores by the items' groups."""
    by_name = {row["name"]: row["scores"] for row in rows}
    names = list(dict.fromkeys(score for scores in by_name.values() for score in scores))
    lines = []
    for group in dict.fromkeys(item.group for item in listing.items):
        mine = [by_name[item.name] for item in listing.items if item.group == group and item.name in by_name]
        values = [[scores[name] for scores in mine if name in scores] for name in names]
        lines.append([group, str(len(mine)), *(f"{np.mean(found):.4f}" if found else "" for found in values)])
    return "By group", ["group", "videos", *names], lines
