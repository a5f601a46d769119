"""One self-contained HTML page: tables, then for every video its source, subject and result side by side, playing.

Videos are embedded as data, so the page can be mailed, and opens from disk. Toy videos take about 10 KB each; past
`MAX_VIDEOS` rows the page shows that many, evenly chosen, and says so.
"""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from magdiff_curation.clips.atomic import write_atomic
from magdiff_eval.markdown import Table

MAX_VIDEOS = 200


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One row of the page: three videos' files and the scores."""

    source: Path
    subject: Path
    result: Path
    row: dict[str, Any]


def write_page(path: Path, title: str, notes: list[str], tables: list[Table], shown: list[Shown]) -> None:
    """Write the page."""
    chosen = [shown[i] for i in np.linspace(0, len(shown) - 1, min(MAX_VIDEOS, len(shown))).round().astype(int)]
    if len(chosen) < len(shown):
        notes = [
            *notes,
            f"{len(chosen)} of {len(shown)} videos are shown; all of them lie in videos/ beside this page.",
        ]
    body = [f"<h1>{html.escape(title)}</h1>", *(f"<p>{html.escape(note)}</p>" for note in notes)]
    for name, header, lines in tables:
        body.append(f"<h2>{html.escape(name)}</h2><table><thead><tr>{_cells('th', header)}</tr></thead><tbody>")
        body += [f"<tr>{_cells('td', line)}</tr>" for line in lines]
        body.append("</tbody></table>")
    body.append("<h2>Videos</h2>")
    body += [_row(entry) for entry in chosen]
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body>{''.join(body)}</body></html>\n"
    )
    write_atomic(path, page.encode())


def _cells(tag: str, values: list[str]) -> str:
    return "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in values)


def _row(entry: Shown) -> str:
    videos = "".join(
        f'<figure><video src="data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}" '
        f"autoplay loop muted playsinline></video><figcaption>{name}</figcaption></figure>"
        for name, path in (("source", entry.source), ("subject", entry.subject), ("result", entry.result))
    )
    scores = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(_shown(value))}</dd>"
        for name, value in entry.row.items()
        if name not in ("prompt", "name", "task")
    )
    prompt, name = html.escape(entry.row["prompt"]), html.escape(f"{entry.row['task']} · {entry.row['name']}")
    text = f'<div class="prompt">{prompt}</div><div>{name}</div><dl>{scores}</dl>'
    return f'<div class="row">{videos}<div>{text}</div></div>'


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
