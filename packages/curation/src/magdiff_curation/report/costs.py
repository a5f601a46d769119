"""What the set cost: wall, processor and GPU time by stage, an input and a kept clip, money where prices are set."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from magdiff_curation.report.ledger_table import Row
from magdiff_curation.report.markup import NONE, element, number, short, table
from magdiff_curation.report.sentences import STAGES


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """One stage's seconds; `cpu` and `gpu` are None where the ledger has none."""

    name: str
    clips: int
    median: float
    p90: float
    total: float
    cpu: float | None
    gpu: float | None


def stage_costs(rows: Sequence[Row]) -> list[StageCost]:
    """Return the stages that the ledger has times of, in their order, unknown ones last."""
    names = {name for row in rows for name in (*row.seconds, *row.cpu_seconds, *row.gpu_seconds)}
    order = sorted(names, key=lambda name: (STAGES.index(name) if name in STAGES else len(STAGES), name))
    return [_cost(name, rows) for name in order]


def draw_costs(rows: Sequence[Row], prices: Mapping[str, float]) -> str:
    """Return the costs as tables; `prices` may hold `price_per_cpu_hour` and `price_per_gpu_hour`."""
    costs = stage_costs(rows)
    if not costs:
        return element("p", "The ledger holds no timings.", cls="soft")
    header = ["stage", "clips", "median s", "p90 s", "total s", "CPU s", "GPU s"]
    lines = [[c.name, number(c.clips), _s(c.median), _s(c.p90), _s(c.total), _s(c.cpu), _s(c.gpu)] for c in costs]
    wall = sum(cost.total for cost in costs)
    cpu, gpu = _sum([cost.cpu for cost in costs]), _sum([cost.gpu for cost in costs])
    lines.append(["all", number(len(rows)), "", "", _s(wall), _s(cpu), _s(gpu)])
    kept = sum(row.kept for row in rows)
    each = [
        [what, *(_s(None if value is None or not count else value / count) for value in (wall, cpu, gpu))]
        for what, count in (("an input", len(rows)), ("a kept clip", kept))
    ]
    each_header = ["for", "wall s", "CPU s", "GPU s"]
    cpu_price, gpu_price = (float(prices.get(f"price_per_{name}_hour") or 0) for name in ("cpu", "gpu"))
    if cpu_price or gpu_price:
        money = ((cpu or 0) * cpu_price + (gpu or 0) * gpu_price) / 3600
        each_header.append("money")
        for line, count in zip(each, (len(rows), kept), strict=True):
            line.append(short(money / count) if count and (cpu or gpu) else NONE)
    note = (
        "Wall time of making each result, in the run that made it; a kept clip also carries the cost of those "
        "that were not kept."
    )
    if cpu is None:
        note += " This ledger has no CPU- and GPU-seconds."
    return table(header, lines) + element("h3", "For each") + table(each_header, each) + element("p", note, cls="soft")


def _cost(name: str, rows: Sequence[Row]) -> StageCost:
    seconds = sorted(row.seconds[name] for row in rows if name in row.seconds)
    return StageCost(
        name=name,
        clips=len(seconds),
        median=statistics.median(seconds) if seconds else 0.0,
        p90=seconds[min(len(seconds) - 1, round(0.9 * (len(seconds) - 1)))] if seconds else 0.0,
        total=sum(seconds),
        cpu=_sum([row.cpu_seconds.get(name) for row in rows]),
        gpu=_sum([row.gpu_seconds.get(name) for row in rows]),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _s(value: float | None) -> str:
    if value is None:
        return NONE
    return number(value) if value >= 1000 else number(value, 1) if value >= 100 else f"{value:.3g}"
