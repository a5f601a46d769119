"""The report on a study: Table 4 with intervals, the paper's own rows beside it, and how far raters agree."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from magdiff_curation.clips.atomic import write_atomic
from magdiff_eval.human.estimates import CONFIDENCE, NUM_RESAMPLES, Cell, ordinal_alpha, rank_of, summarize
from magdiff_eval.human.ratings import Ratings, as_csv, of_csv, of_study, only_complete
from magdiff_eval.human.study import ASPECTS, HIGHEST, LOWEST, load_study
from magdiff_eval.markdown import Table, markdown

PAPER = {
    "VideoCrafter1": (3.2, 2.8, 3.2),
    "AnimateDiff (V3)": (3.5, 3.6, 3.3),
    "MagDiff": (4.4, 4.1, 3.7),
}
"""Table 4: 34 raters, 15 videos of each method; columns as in `ASPECTS`. It gives no interval and no agreement."""


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Say what raters answered: means, ranks, intervals, agreement."""

    study: Path | None = None
    """The study's folder."""
    csv: Path | None = None
    """Instead of a study: a csv with the columns rater, video, method, aspect, score."""
    output: Path | None = None
    """Receives results.md, results.json and rows.csv."""
    complete_only: bool = False
    """Leave out raters who did not answer everything."""
    seed: int = 0
    """Of the resamples that intervals come from."""
    json: bool = False
    """Print JSON instead of Markdown."""


def report(settings: ReportSettings) -> dict[str, Any]:
    """Return the results, and write them where the settings say so.

    Raises:
        ValueError: neither a study nor a csv, both, or nothing in it to report on.
    """
    if (settings.study is None) == (settings.csv is None):
        given = "neither" if settings.study is None else "both"
        raise ValueError(f"{given} of --study and --csv is given: give one of them")
    found = of_csv(settings.csv) if settings.csv is not None else _of_study(settings.study)
    found = only_complete(found) if settings.complete_only else found
    results = summary(found, settings)
    if settings.output is not None:
        write_atomic(settings.output / "rows.csv", as_csv(found))
        write_atomic(settings.output / "results.json", as_json(results))
        write_atomic(settings.output / "results.md", as_markdown(results).encode())
    return results


def summary(found: Ratings, settings: ReportSettings) -> dict[str, Any]:
    """Return the results of ratings, as JSON takes them."""
    cells = summarize(found, settings.seed)
    return {
        "protocol": {
            "benchmark": "human study",
            "scale": [LOWEST, HIGHEST],
            "interval": f"{CONFIDENCE:.0%}, percentiles of {NUM_RESAMPLES} resamples of raters",
            "agreement": "Krippendorff's alpha, ordinal; a unit is a video of a method",
            "complete_only": settings.complete_only,
            "seed": settings.seed,
        },
        "raters": {
            "complete": len(found.complete),
            "partial": len(found.partial),
            "without_an_answer": found.num_silent,
        },
        "num_videos": found.num_videos,
        "num_scores": len(found.rows),
        "methods": found.methods,
        "aspects": found.aspects,
        "means": [asdict(cell) for cell in cells],
        "alpha": {name: ordinal_alpha([row for row in found.rows if row.aspect == name]) for name in found.aspects},
        "versions": {
            **{name: version(name) for name in ("magdiff-eval", "krippendorff", "numpy")},
            "python": platform.python_version(),
        },
    }


def as_json(results: dict[str, Any]) -> bytes:
    """Return the results as a JSON file."""
    return json.dumps(results, indent=1, allow_nan=False).encode() + b"\n"


def as_markdown(results: dict[str, Any]) -> str:
    """Return the results as Markdown: Table 4's form, rank in brackets, then agreement."""
    raters, protocol, aspects = results["raters"], results["protocol"], results["aspects"]
    told = [f"raters: {raters['complete']} complete, {raters['partial']} partial"]
    told[0] += " and left out" if protocol["complete_only"] and raters["partial"] else ""
    told[0] += f", {raters['without_an_answer']} without an answer" if raters["without_an_answer"] else ""
    told.append(f"videos: {results['num_videos']}")
    told.append(f"scores: {results['num_scores']}")
    cells = {(cell["method"], cell["aspect"]): Cell(**cell) for cell in results["means"]}
    lines = [[_safe(m), *(_shown(cells.get((m, a))) for a in aspects)] for m in results["methods"]]
    if aspects == list(ASPECTS):
        lines += [[f"{name} (paper)", *_paper_line(values)] for name, values in PAPER.items()]
    alphas = ["none" if results["alpha"][name] is None else f"{results['alpha'][name]:.3f}" for name in aspects]
    titles = [_safe(ASPECTS.get(name, name)) for name in aspects]
    tables: list[Table] = [
        ("Human study (Table 4)", ["method", *titles], lines),
        ("Agreement", ["", *titles], [["Krippendorff's alpha (ordinal)", *alphas]]),
    ]
    note = (
        f"Means on a scale of {LOWEST} to {HIGHEST}, the rank in brackets, and 95% intervals over raters "
        "for these same videos."
    )
    return f"{'; '.join(told).capitalize()}.\n\n{note}\n\n{markdown(tables)}"


def _of_study(folder: Path | None) -> Ratings:
    assert folder is not None, "one of study and csv is given"
    return of_study(folder, load_study(folder))


def _paper_line(values: tuple[float, ...]) -> list[str]:
    columns = list(zip(*PAPER.values(), strict=True))
    return [f"{value} ({rank_of(value, list(columns[i]))})" for i, value in enumerate(values)]


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    interval = "" if cell.lower is None else f", {cell.lower:.2f} to {cell.upper:.2f}"
    return f"{cell.mean:.2f} ({cell.rank}){interval}"


def _safe(text: str) -> str:
    return text.replace("|", "\\|")
