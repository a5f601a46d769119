"""The paper's Fig. B: a packed word cloud of the kept clips' labels, laid out here, drawn as SVG.

The largest word goes to the middle; each next one takes the place nearest to it, by an ellipse's measure, where its
box meets no other. Sizes grow with the square root of the count, so that areas compare. Widths come from a table of
letters, and SVG's `textLength` holds every browser and font to them: the layout is the same everywhere.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
"""Left, top, right, bottom in px, [N, 4]; or x, y, [N, 2]."""

MAX_WORDS = 150
_LARGEST_PX, _SMALLEST_PX = 92.0, 13.0
_NARROW, _THIN, _WIDE = "fjrt-() ", "il.,'!|:;", "mwMW@%"


@dataclass(frozen=True, kw_only=True)
class Word:
    """One placed word; its box in px, with the text's baseline."""

    text: str
    count: int
    font_px: float
    left: float
    top: float
    width: float
    height: float
    baseline: float


def text_width(text: str, font_px: float) -> float:
    """Return about how wide a sans-serif font sets a text, in px."""
    widths = {**dict.fromkeys(_THIN, 0.27), **dict.fromkeys(_NARROW, 0.36), **dict.fromkeys(_WIDE, 0.86)}
    ems = sum(
        widths.get(letter, 1.0 if ord(letter) > 0x2E7F else 0.68 if letter.isupper() else 0.56) for letter in text
    )
    return ems * font_px


def lay_out(counts: Mapping[str, int], aspect: float = 2.4) -> list[Word]:
    """Return the commonest words placed around (0, 0), no two boxes overlapping; `aspect` is width over height."""
    chosen = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_WORDS]
    if not chosen:
        return []
    most = chosen[0][1]
    # Many words of about one size would fill a wall; their sum bounds the largest.
    crowd = sum((count / most) for _, count in chosen)
    largest = min(_LARGEST_PX, max(30.0, 300 / crowd**0.5))
    places = _places(aspect)
    boxes = np.zeros((0, 4))
    words: list[Word] = []
    for text, count in chosen:
        shown = text if len(text) <= 28 else text[:27] + "…"
        font = max(_SMALLEST_PX, largest * (count / most) ** 0.5)
        above = 0.76 if any(letter not in "acemnorsuvwxzgpqy" for letter in shown) else 0.56
        below = 0.24 if any(letter in "gjpqyQ,;()…" for letter in shown) else 0.03
        width, height = text_width(shown, font) + 8, (above + below) * font + 3
        box = _first_free(places, width, height, boxes)
        if box is None:
            continue
        boxes = np.concatenate([boxes, box[None]])
        left, top = float(box[0]), float(box[1])
        words.append(
            Word(
                text=text, count=count, font_px=font, left=left, top=top, width=width, height=height,
                baseline=top + above * font + 1.5,
            )
        )  # fmt: skip
    return words


def _places(aspect: float) -> Boxes:
    """Return places for a word's middle [P, 2], the nearest first."""
    x, y = np.meshgrid(np.arange(-170, 171) * 4.0, np.arange(-170, 171) * 4.0)
    grid = np.stack([x.ravel(), y.ravel()], 1)
    far = np.hypot(grid[:, 0] / aspect**0.5, grid[:, 1] * aspect**0.5)
    near = np.flatnonzero(far < _LARGEST_PX * 5)
    return np.asarray(grid[near[np.argsort(far[near], kind="stable")]])


def _first_free(places: Boxes, width: float, height: float, boxes: Boxes) -> Boxes | None:
    """Return the box [4] of this size at the first place where it meets none of `boxes` [N, 4], if there is one."""
    half = np.array([width / 2, height / 2])
    for start in range(0, len(places), 2000):
        middle = places[start : start + 2000]
        sides = np.concatenate([middle - half, middle + half], 1)
        overlaps = (sides[:, None, :2] < boxes[:, 2:]) & (boxes[:, :2] < sides[:, None, 2:])
        meets = overlaps[..., 0] & overlaps[..., 1]
        free = np.flatnonzero(~meets.any(axis=1))
        if free.size:
            return np.asarray(sides[free[0]])
    return None


def draw_cloud(counts: Mapping[str, int], kinds: Mapping[str, str], aspect: float = 2.4, cls: str = "") -> str:
    """Return the cloud as SVG; a word carries its category (`kinds`) as its class, and filters the table."""
    words = lay_out(counts, aspect)
    left, top = min(word.left for word in words) - 6, min(word.top for word in words) - 6
    right, bottom = (max(word.left + word.width for word in words), max(word.top + word.height for word in words))
    parts = [
        f'<svg class="cloud {cls}" viewBox="{left:.0f} {top:.0f} {right - left + 6:.0f} {bottom - top + 6:.0f}" '
        'role="group" aria-label="word cloud of the labels of kept clips">'
    ]
    for word in words:
        shown = word.text if len(word.text) <= 28 else word.text[:27] + "…"
        name = html.escape(word.text)
        parts.append(
            f'<text class="word {html.escape(kinds.get(word.text, "other"))}" data-label="{name}" tabindex="0" '
            f'role="button" x="{word.left + 4:.1f}" y="{word.baseline:.1f}" font-size="{word.font_px:.1f}" '
            f'textLength="{word.width - 8:.1f}" lengthAdjust="spacingAndGlyphs">'
            f"{html.escape(shown)}<title>{name}: {word.count} clips</title></text>"
        )
    return "".join(parts) + "</svg>"
