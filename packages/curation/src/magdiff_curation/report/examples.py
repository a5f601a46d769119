"""A few inputs of every reason, with their picture and the scores that decided beside their thresholds."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from magdiff_curation.clips.atomic import sha256_hex
from magdiff_curation.report.ledger_table import Row
from magdiff_curation.report.markup import element, number
from magdiff_curation.report.pictures import Picture, Pictures
from magdiff_curation.report.sentences import sentence

PER_REASON = 6
_LIMITS = {
    "answer_similarity": ("label_threshold", ""),
    "noun_similarity": ("label_threshold", ""),
    "area_ratio_first": ("min_area_ratio", "max_area_ratio"),
    "area_ratio_mean": ("min_area_ratio", "max_area_ratio"),
    "motion": ("min_motion", "max_motion"),
    "own_motion": ("min_own_motion", ""),
}
"""Score -> the thresholds that it is held against from below and from above."""


def choose(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Return for each reason, the commonest first but kept before all, the rows to show: those of lowest hash."""
    groups: dict[str, list[int]] = collections.defaultdict(list)
    for index, row in enumerate(rows):
        groups[row.reason].append(index)
    order = sorted(groups, key=lambda reason: (reason != "kept", -len(groups[reason]), reason))
    return {
        reason: sorted(groups[reason], key=lambda index: sha256_hex(rows[index].source.encode()))[:PER_REASON]
        for reason in order
    }


def score_lines(row: Row) -> list[tuple[str, str]]:
    """Return a row's scores with the thresholds beside them, as texts."""
    lines = []
    limits = row.thresholds
    if "min_short_side_px" in limits and row.source_width:
        side = min(row.source_width, row.source_height)
        lines.append(("short side, px", f"{side:g} (\u2265 {limits['min_short_side_px']:g})"))
    for name, value in row.scores.items():
        low, high = (limits.get(limit) for limit in _LIMITS.get(name, ("", "")))
        if low is not None and high is not None:
            beside = f" ({low:g}\u2013{high:g})"
        elif low is not None:
            beside = f" (> {low:g})" if name.endswith("similarity") else f" (\u2265 {low:g})"
        else:
            beside = f" (\u2264 {high:g})" if high is not None else ""
        lines.append((name.replace("_", " "), f"{value:.3g}{beside}"))
    # What is held against a threshold comes first.
    return sorted(lines, key=lambda line: "(" not in line[1])


def draw_examples(rows: Sequence[Row], pictures: Pictures) -> str:
    """Return the examples as HTML, a section a reason."""
    chosen = choose(rows)
    totals = collections.Counter(row.reason for row in rows)
    drawn: dict[int, Picture] = {}
    # Every reason gets its first picture before any gets a second: what is left out is spread.
    for rank in range(PER_REASON):
        for indices in chosen.values():
            if rank < len(indices):
                drawn[indices[rank]] = pictures.first_frame(rows[indices[rank]])
    sections = []
    for reason, indices in chosen.items():
        status = rows[indices[0]].status
        shown = f"{len(indices)} of {number(totals[reason])}"
        head = element("code", reason, cls=f"pill {status}") + " " + element("span", sentence(reason))
        title = element("h3", head + " " + element("span", shown, cls="soft"), raw=True)
        cards = "".join(_card(rows[index], index, drawn[index]) for index in indices)
        sections.append(
            element(
                "section",
                title + element("div", cards, raw=True, cls="cards"),
                raw=True,
                style=f"--cards:{len(indices)}",
            )
        )
    note = f"Pictures: {pictures.spent}." if pictures.spent else ""
    return (element("p", note, cls="note") if note else "") + element("div", "".join(sections), raw=True, cls="reasons")


def _card(row: Row, index: int, picture: Picture) -> str:
    if picture.uri:
        alt = f"first frame of {row.source}" + (f", {row.label} marked" if row.kept else "")
        image = element("img", "", src=picture.uri, alt=alt, loading="lazy").removesuffix("</img>")
    else:
        image = element("span", picture.missing, cls="placeholder")
    label = element("b", row.label or "no label")
    if row.category:
        label += " " + element("span", row.category, cls=f"tag {row.category}")
    lines = element("span", image, raw=True, cls="frame") + element("span", label, raw=True)
    lines += element("span", row.caption_text or "no caption", cls="caption" if row.caption_text else "caption soft")
    if not row.kept and row.detail:
        lines += element("span", row.detail, cls="detail")
    scores = "".join(
        element("span", element("span", name, cls="soft") + element("span", value), raw=True, cls="score")
        for name, value in score_lines(row)
    )
    if scores:
        lines += element("span", scores, raw=True, cls="scores")
    return element(
        "button", lines, raw=True, cls="card", type="button", data_row=str(index), title=f"details of {row.source}"
    )
