"""One self-contained page: every method's video side by side per prompt, sorted by any score, the worst first.

The page loads nothing: styles, script, scores and videos are inside it, and its own policy lets no other script run, so
that a prompt can do nothing. Videos are base64 in a block that comes after all else, and become files of the browser's
only near the window. 384 of 40 kB make a page of 20 MB, which is usable about a second after it is opened.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from magdiff_curation.clips.atomic import write_atomic
from magdiff_eval.report.differences import warnings
from magdiff_eval.report.markup import element, fill, script_json
from magdiff_eval.report.order import better, choose, worst_first
from magdiff_eval.report.runs import PageItem, Run, all_items, read_runs, video_scores
from magdiff_eval.report.summary import draw_means, draw_notes
from magdiff_eval.tables.web import STYLE as TABLES_STYLE

MAX_VIDEOS = 400
MAX_BYTES = 32_000_000
"""Of all videos in a page, about: 48 MB took up to two seconds to open; no browser holds a text of 500 MB."""

Medium = tuple[str, str]
"""A file's media type, and its content in base64."""


def write_document(folders: Sequence[Path], output: Path) -> int:
    """Write the page of some runs, and return how many prompts it shows.

    Args:
        folders: of one benchmark, a method each; the page first sorts by the first one's first score.
        output: the page.

    Raises:
        ValueError: as `read_runs`.
    """
    runs = read_runs(folders)
    items, scores = all_items(runs), video_scores(runs)
    shown = _chosen(items, runs, scores)
    notes = warnings(runs)
    if len(shown) < len(items):
        by = f"by {scores[0]} of {runs[0].title}" if scores else "as they are listed"
        notes.append(
            f"{len(shown)} of {len(items)} prompts are shown, since a page holds about {MAX_VIDEOS} videos, or "
            f"{MAX_BYTES / 1e6:.0f} MB of them: the worst {by}, and an even choice of the others. "
            "The means are of all prompts."
        )
    style, script = _asset("report.css") + TABLES_STYLE, _asset("videos.js") + _asset("report.js")
    data, media = _data(shown, runs, scores)
    page = fill(
        _asset("report.html"),
        policy=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        title=element("title", _title(runs)),
        heading=element("h1", _title(runs)),
        warnings="".join(element("p", note, cls="note", role="note") for note in notes),
        tables=_tables(runs[0]),
        means=draw_means(runs),
        notes=draw_notes(runs),
        data=script_json(data),
        media=script_json(media),
        script=script,
    )
    write_atomic(output, page.encode())
    return len(shown)


def _title(runs: Sequence[Run]) -> str:
    methods = f"{len(runs)} methods" if len(runs) > 1 else runs[0].title
    return f"{runs[0].results.benchmark}: {methods}"


def _tables(run: Run) -> str:
    """Return the fragment that a run wrote of the paper's tables: markup already."""
    path = run.folder / "tables.html"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _chosen(items: list[PageItem], runs: Sequence[Run], scores: Sequence[str]) -> list[PageItem]:
    """Return the items whose videos the page can hold, as they are listed."""
    files = [path for item in items for path in (_given(item, runs), *(_video(run, item) for run in runs)) if path]
    size = sum(path.stat().st_size for path in files)
    count = min(len(items), MAX_VIDEOS // (len(runs) + 1), int(len(items) * MAX_BYTES / size) if size else len(items))
    ordered = worst_first(items, runs[0], scores[0]) if scores else items
    chosen = {item.name for item in choose(ordered, max(1, count))}
    return [item for item in items if item.name in chosen]


def _data(items: Sequence[PageItem], runs: Sequence[Run], scores: Sequence[str]) -> tuple[dict[str, Any], list[Medium]]:
    """Return what the script draws, and the files it shows, which are named by their places."""
    media: list[Medium] = []
    rows = []
    for item in items:
        given = _given(item, runs)
        sizes = [size for run in runs if (size := run.size_px(item.name))]
        rows.append(
            {
                "name": item.name,
                "group": item.group,
                "task": item.task,
                "prompt": item.prompt,
                "ratio": sizes[0][0] / sizes[0][1] if sizes else 1,
                "given": _place(given, media),
                "picture": given is not None and given.suffix == ".png",
                "cells": [_cell(item, run, scores, media) for run in runs],
            }
        )
    methods = [run.title for run in runs]
    shown = [{"name": score, "better": better(score)} for score in scores]
    return {"methods": methods, "scores": shown, "rows": rows}, media


def _cell(item: PageItem, run: Run, scores: Sequence[str], media: list[Medium]) -> dict[str, Any]:
    values, faults, video = run.scores(item.name), run.faults(item.name), _video(run, item)
    if video is None and not faults:
        faults = [f"there is no videos/{item.name}.mp4 in the run's folder"]
    return {"video": _place(video, media), "scores": [values.get(score) for score in scores], "faults": faults}


def _video(run: Run, item: PageItem) -> Path | None:
    path = run.folder / "videos" / f"{item.name}.mp4"
    return path if item.name in run.items and path.is_file() else None


def _given(item: PageItem, runs: Sequence[Run]) -> Path | None:
    """Return what methods were given, as the first run that has it shows it."""
    paths = [run.folder / "shown" / f"{item.name}{suffix}" for run in runs for suffix in (".mp4", ".png")]
    return next((path for path in paths if path.is_file()), None)


def _place(path: Path | None, media: list[Medium]) -> int | None:
    if path is None:
        return None
    kind = "image/png" if path.suffix == ".png" else "video/mp4"
    media.append((kind, base64.b64encode(path.read_bytes()).decode()))
    return len(media) - 1


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
