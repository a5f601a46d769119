"""The paper's Fig. C as inline SVG: histograms and bars with labelled axes and readable values."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from magdiff_curation.report.markup import number, share, short

_WIDTH, _HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 22, 54


def nice_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that covers `span` in at most `most` steps."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most)


def bins(values: Sequence[float], *, whole: bool = False, most: int = 12) -> list[tuple[float, float, int]]:
    """Return a histogram's bins: start, end (exclusive) and count, from 0's or the least value's bin to the last.

    Whole numbers get steps of at least 1.
    """
    if not values:
        return []
    step = nice_step(max(values) - min(values) or max(values) or 1.0, most)
    step = max(1.0, step) if whole else step
    first, last = math.floor(min(values) / step + 1e-9), math.floor(max(values) / step + 1e-9)
    counts = [0] * (last - first + 1)
    for value in values:
        counts[math.floor(value / step + 1e-9) - first] += 1
    return [((first + i) * step, (first + i + 1) * step, count) for i, count in enumerate(counts)]


def histogram(values: Sequence[float], *, title: str, unit: str, whole: bool = False) -> str:
    """Return a histogram of values; the x axis carries `unit`, the y axis clips."""
    parts = bins(values, whole=whole)
    single = whole and len(parts) > 0 and parts[0][1] - parts[0][0] == 1
    names = [short(start) for start, _, _ in parts]
    spans = [short(a) if single else f"{short(a)} to under {short(b)}" for a, b, _ in parts]
    median = sorted(values)[len(values) // 2] if values else 0.0
    note = f"median {short(median)}, range {short(min(values))} to {short(max(values))}" if values else ""
    return _bars(names, spans, [count for _, _, count in parts], title=title, axis=unit, note=note, joined=not single)


def categories(names: Sequence[str], counts: Sequence[int], *, title: str) -> str:
    """Return one bar a category, with its share."""
    return _bars(
        names,
        names,
        counts,
        title=title,
        axis="category",
        note=f"{number(sum(counts))} clips",
        shares=True,
        classes=names,
    )


def _bars(
    names: Sequence[str], spans: Sequence[str], counts: Sequence[int], *, title: str, axis: str, note: str = "",
    joined: bool = False, shares: bool = False, classes: Sequence[str] = (),
) -> str:  # fmt: skip
    total, most = sum(counts), max(counts, default=0)
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}: '
        f'{html.escape("; ".join(f"{n}: {c}" for n, c in zip(spans, counts, strict=True)) or "no clips")}">'
    ]
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    base = _TOP + inner_height
    step = max(1.0, nice_step(most, 4))
    top = step * math.ceil(most / step) or 1.0
    for i in range(round(top / step) + 1):
        y = base - inner_height * i * step / top
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 5, y + 4, number(i * step), "end"))
    slot = inner_width / max(1, len(counts))
    width = min(slot * (0.94 if joined else 0.7), 70)
    every = math.ceil(len(counts) * max((len(name) for name in names), default=1) * 8 / inner_width) or 1
    for i, (name, span, count) in enumerate(zip(names, spans, counts, strict=True)):
        x, height = _LEFT + slot * i + (slot - width) / 2, inner_height * count / top
        kind = f"bar {html.escape(classes[i])}" if classes else "bar"
        parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{base - height:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f"<title>{html.escape(span)}: {number(count)} clips, {share(count, total)}</title></rect>"
        )
        exact = number(count)
        if count:
            parts.append(
                _text(
                    x + width / 2,
                    base - height - 4,
                    exact if len(exact) * 6.5 <= slot else _compact(count),
                    "middle",
                    "value",
                )
            )
        if shares:
            parts.append(_text(x + width / 2, base + 29, share(count, total), "middle", "value"))
        if i % every == 0:
            # A histogram's number stands below its bin's left edge, where the bin begins.
            parts.append(_text(x if joined else x + width / 2, base + 15, name, "middle"))
    middle = _TOP + inner_height / 2
    parts.append(_text(_LEFT + inner_width / 2, _HEIGHT - 5, axis, "middle", "axis"))
    parts.append(
        f'<text class="axis" text-anchor="middle" transform="translate(11 {middle:.0f}) rotate(-90)">clips</text>'
    )
    parts.append("</svg>")
    caption = f"{html.escape(title)}" + (f'<span class="soft">{html.escape(note)}</span>' if note else "")
    return f"<figure><figcaption>{caption}</figcaption>{''.join(parts)}</figure>"


def _compact(count: int) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.2g}{unit}" if count < 99.5 * size else f"{count / size:.0f}{unit}"
    return str(count)


def _text(x: float, y: float, content: str, anchor: str, cls: str = "tick") -> str:
    return f'<text class="{cls}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(content)}</text>'
