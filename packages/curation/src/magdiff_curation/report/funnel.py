"""The way from all inputs to the kept ones: at each stage what came in, and what it lost to which reason."""

from __future__ import annotations

import collections
from dataclasses import dataclass

from magdiff_curation.report.ledger_table import Row
from magdiff_curation.report.markup import element, number, share
from magdiff_curation.report.sentences import STAGE_SENTENCES, STAGES, sentence, stage_of


@dataclass(frozen=True, kw_only=True)
class FunnelStage:
    """One stage: inputs that reached it, and the losses, the largest first."""

    name: str
    entering: int
    losses: tuple[tuple[str, str, int], ...]
    """Status, reason, inputs."""

    @property
    def leaving(self) -> int:
        """Inputs that went on."""
        return self.entering - sum(count for _, _, count in self.losses)


def funnel(rows: list[Row]) -> list[FunnelStage]:
    """Return the stages in order; what leaves the last one is what was kept."""
    lost: dict[str, collections.Counter[tuple[str, str]]] = {name: collections.Counter() for name in STAGES}
    for row in rows:
        if not row.kept:
            lost[stage_of(row.stage, row.reason)][row.status, row.reason] += 1
    stages = []
    remaining = len(rows)
    for name in STAGES:
        losses = tuple(
            (status, reason, count)
            for (status, reason), count in sorted(lost[name].items(), key=lambda item: (-item[1], item[0]))
        )
        stage = FunnelStage(name=name, entering=remaining, losses=losses)
        if losses or name not in ("shots", "elsewhere"):
            stages.append(stage)
        remaining = stage.leaving
    return stages


def draw_funnel(rows: list[Row]) -> str:
    """Return the funnel as HTML; every reason is a button that filters the table."""
    total = len(rows)
    lines = [_bar("All inputs", "", total, total, "all")]
    for stage in funnel(rows):
        for status, reason, count in stage.losses:
            lines.append(_reason(reason, status, count, total))
        lines.append(_bar(f"after {stage.name}", STAGE_SENTENCES[stage.name], stage.leaving, total, "pass"))
    lines.append(_reason("kept", "kept", sum(row.kept for row in rows), total))
    return element("div", "".join(lines), raw=True, cls="funnel")


def _bar(name: str, about: str, count: int, total: int, kind: str) -> str:
    title = element("b", name) + (" " + element("span", about, cls="soft") if about else "")
    return element("div", _cells(title, count, total, kind), raw=True, cls="step stage")


def _reason(reason: str, status: str, count: int, total: int) -> str:
    title = element("code", reason) + " " + element("span", sentence(reason), cls="soft")
    return element(
        "button", _cells(title, count, total, status), raw=True, cls=f"step reason {status}",
        type="button", data_reason=reason, title=f"show the {number(count)} inputs in the table",
    )  # fmt: skip


def _cells(title: str, count: int, total: int, kind: str) -> str:
    # A bar of a single input must still be seen.
    width = max(0.4, 100 * count / total) if count and total else 0
    return (
        element("span", title, raw=True, cls="step-title")
        + f'<span class="track"><i class="fill {kind}" style="width:{width:.2f}%"></i></span>'
        + element("span", number(count), cls="count")
        + element("span", share(count, total), cls="share")
    )
