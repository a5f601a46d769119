"""The top of the page: what was run, what does not compare, and every method's means with their intervals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from magdiff_eval.report.markup import element, short
from magdiff_eval.report.order import better
from magdiff_eval.report.runs import Run

_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
_NONE = "\u2013"


def draw_notes(runs: Sequence[Run]) -> str:
    """Return the listing's settings and the packages' versions in short, and all that the runs say to unfold."""
    notes = [_listed(runs[0].stamp)]
    versions = [run.more.get("versions") or {} for run in runs]
    if all(found == versions[0] for found in versions):
        notes.append(_listed(versions[0]))
    else:
        notes += [f"{run.title}: {_listed(found)}" for run, found in zip(runs, versions, strict=True)]
    lines = "".join(element("p", note, cls="soft") for note in notes if note)
    each = "".join(element("h3", run.title) + element("pre", _all(run), tabindex="0") for run in runs)
    summary = element("summary", "Protocol, listing and versions of every run")
    return lines + element("details", summary + each, raw=True)


def draw_means(runs: Sequence[Run]) -> str:
    """Return a table of means with 95% intervals, a line a method; the best are marked."""
    scores = list(dict.fromkeys(score for run in runs for score in run.results.scores))
    best = {score: _best(runs, score) for score in scores}
    reasons: list[str] = []
    head = element("th", "method", scope="col") + "".join(
        element("th", score + _ARROWS[better(score)], cls="figure", scope="col") for score in scores
    )
    head += element("th", "videos", cls="figure", scope="col")
    lines = [
        element("th", run.title, scope="row")
        + "".join(_mean(run, score, run.title in best[score], reasons) for score in scores)
        + element("td", _videos(run), cls="figure")
        for run in runs
    ]
    body = "".join(element("tr", line, raw=True) for line in lines)
    table = element("thead", element("tr", head, raw=True), raw=True) + element("tbody", body, raw=True)
    caption = "Means with 95% intervals; the best of each score is bold, arrows point to the better side."
    table = element("table", table, raw=True)
    table = element("div", table, raw=True, cls="wide", tabindex="0", role="region", aria_label="means")
    table = element("p", caption, cls="soft") + table
    if reasons:
        notes = "".join(element("li", reason) for reason in reasons)
        table += element("p", "† Not comparable with published figures:", cls="soft")
        table += element("ol", notes, raw=True, cls="soft")
    return table


def _mean(run: Run, score: str, is_best: bool, reasons: list[str]) -> str:
    """Return a method's cell; a reason why it does not compare joins `reasons`, once."""
    value = run.results.scores.get(score)
    if value is None:
        return element("td", _NONE, cls="figure")
    reason = run.results.not_comparable.get(score)
    content = element("strong", short(value)) if is_best else short(value)
    if reason is not None:
        if reason not in reasons:
            reasons.append(reason)
        content += element("sup", f"†{reasons.index(reason) + 1}")
    if score in run.results.intervals:
        lower, upper = run.results.intervals[score]
        content += " " + element("span", f"[{short(lower)}, {short(upper)}]", cls="soft interval")
    count = (run.more.get("details") or {}).get(score, {}).get("videos")
    if isinstance(count, int) and count != len(run.items):
        content += " " + element("span", f"of {count} videos", cls="soft interval")
    return element("td", content, raw=True, cls="figure")


def _best(runs: Sequence[Run], score: str) -> set[str]:
    """Return the titles of the methods with the best mean, where there is something to be better than.

    Methods with the same reason not to compare with published figures do compare with each other; those with another
    one than most stay out.
    """
    there = [run for run in runs if score in run.results.scores]
    reasons = Counter(run.results.not_comparable.get(score) for run in there)
    if not better(score) or not reasons:
        return set()
    usual = reasons.most_common(1)[0][0]
    means = {run.title: run.results.scores[score] for run in there if run.results.not_comparable.get(score) == usual}
    best = (min if better(score) == "lower" else max)(means.values())
    return {title for title, mean in means.items() if mean == best and len(means) > 1}


def _videos(run: Run) -> str:
    faulty = sum(1 for name in run.items if run.faults(name))
    return f"{len(run.items)}, {faulty} with faults" if faulty else str(len(run.items))


def _listed(values: Mapping[str, Any]) -> str:
    return " · ".join(f"{name} {value}" for name, value in values.items() if isinstance(value, str | int | float))


def _all(run: Run) -> str:
    told = {name: run.more[name] for name in ("protocol", "versions", "videos") if name in run.more}
    return json.dumps({"listing": run.stamp, **told}, indent=2, ensure_ascii=False)
