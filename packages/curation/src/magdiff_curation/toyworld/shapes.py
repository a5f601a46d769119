"""The ten subject classes, each drawn from a few shape primitives.

A primitive is a signed distance (negative inside), so that one formula gives antialiased coverage at any size.
Subjects live in a local frame: x to the right, y down, everything within about [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Field = NDArray[Any]
"""One value per pixel, floating point [H, W]."""
Role = Literal["body", "accent", "dark"]


@dataclass(frozen=True)
class Part:
    """One piece of a subject: its signed distance and which of the subject's colours paints it."""

    distance: Field
    role: Role


def ellipse(x: Field, y: Field, cx: float, cy: float, rx: float, ry: float) -> Field:
    """Return the distance to an ellipse, first-order exact near its edge."""
    u, v = (x - cx) / rx, (y - cy) / ry
    level = np.sqrt(u * u + v * v)
    gradient = np.sqrt((u / rx) ** 2 + (v / ry) ** 2)
    distance: Field = (level - 1) * level / np.maximum(gradient, 1e-6)
    return distance


def box(x: Field, y: Field, cx: float, cy: float, half_width: float, half_height: float, radius: float = 0) -> Field:
    """Return the distance to a box with rounded corners."""
    u = np.abs(x - cx) - half_width + radius
    v = np.abs(y - cy) - half_height + radius
    outside = np.hypot(np.maximum(u, 0), np.maximum(v, 0))
    distance: Field = outside + np.minimum(np.maximum(u, v), 0) - radius
    return distance


def polygon(x: Field, y: Field, *corners: tuple[float, float]) -> Field:
    """Return the distance to a convex polygon (outside, the distance to its nearest edge line)."""
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(corners, corners[1:] + corners[:1], strict=True))
    turn = 1.0 if area > 0 else -1.0
    distance: Field | None = None
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = float(np.hypot(bx - ax, by - ay))
        edge = turn * ((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / length
        distance = edge if distance is None else np.maximum(distance, edge)
    assert distance is not None, "a polygon has corners"
    return distance


def _fish(x: Field, y: Field, part: float) -> list[Part]:
    tail = polygon(x, y, (-0.4, 0), (-1.0, -0.55 * part), (-1.0, 0.55 * part))
    return [
        Part(tail, "accent"),
        Part(ellipse(x, y, 0.18, 0, 0.78, 0.52), "body"),
        Part(ellipse(x, y, 0.62, -0.12, 0.09, 0.09), "dark"),
    ]


def _car(x: Field, y: Field, part: float) -> list[Part]:
    wheel = 0.25 * part
    return [
        Part(polygon(x, y, (-0.62, -0.02), (-0.36, -0.52), (0.32, -0.52), (0.62, -0.02)), "body"),
        Part(box(x, y, 0, 0.2, 0.97, 0.3, 0.12), "body"),
        Part(ellipse(x, y, -0.52, 0.5, wheel, wheel), "accent"),
        Part(ellipse(x, y, 0.52, 0.5, wheel, wheel), "accent"),
    ]


def _house(x: Field, y: Field, part: float) -> list[Part]:
    return [
        Part(box(x, y, 0, 0.38, 0.72, 0.52), "body"),
        Part(polygon(x, y, (-0.98, -0.1), (0, -0.1 - 0.75 * part), (0.98, -0.1)), "accent"),
        Part(box(x, y, 0, 0.66, 0.15, 0.24), "dark"),
    ]


def _mushroom(x: Field, y: Field, part: float) -> list[Part]:
    cap = np.maximum(ellipse(x, y, 0, 0.05, 0.97, 0.9), y - 0.08)
    return [Part(box(x, y, 0, 0.45, 0.27 * part, 0.5, 0.1), "accent"), Part(cap, "body")]


def _rabbit(x: Field, y: Field, part: float) -> list[Part]:
    ears = [(side * 0.32, -0.42) for side in (-1, 1)]
    return [
        *(Part(ellipse(x, y, cx, cy, 0.2, 0.56), "body") for cx, cy in ears),
        *(Part(ellipse(x, y, cx, cy, 0.1 * part, 0.4 * part), "accent") for cx, cy in ears),
        Part(ellipse(x, y, 0, 0.38, 0.68, 0.58), "body"),
        *(Part(ellipse(x, y, side * 0.26, 0.28, 0.08, 0.08), "dark") for side in (-1, 1)),
        Part(ellipse(x, y, 0, 0.52, 0.13 * part, 0.09 * part), "accent"),
    ]


def _rocket(x: Field, y: Field, part: float) -> list[Part]:
    fins = [polygon(x, y, (side * 0.2, 0.15), (side * 0.82 * part, 0.95), (side * 0.15, 0.8)) for side in (-1, 1)]
    return [
        *(Part(fin, "accent") for fin in fins),
        Part(ellipse(x, y, 0, 0, 0.44, 0.98), "body"),
        Part(ellipse(x, y, 0, -0.3, 0.15, 0.15), "dark"),
    ]


def _boat(x: Field, y: Field, part: float) -> list[Part]:
    return [
        Part(polygon(x, y, (0.02, 0.22 - 1.15 * part), (0.02, 0.22), (0.8, 0.22)), "accent"),
        Part(polygon(x, y, (-0.08, 0.22 - 0.9 * part), (-0.08, 0.22), (-0.68, 0.22)), "accent"),
        Part(polygon(x, y, (-0.98, 0.3), (0.98, 0.3), (0.62, 0.85), (-0.62, 0.85)), "body"),
    ]


def _butterfly(x: Field, y: Field, part: float) -> list[Part]:
    wings = [ellipse(x, y, side * 0.52, -0.34, 0.48, 0.52) for side in (-1, 1)]
    wings += [ellipse(x, y, side * 0.44, 0.46, 0.38, 0.4) for side in (-1, 1)]
    return [*(Part(wing, "body") for wing in wings), Part(ellipse(x, y, 0, 0.02, 0.13 * part, 0.8), "accent")]


def _mug(x: Field, y: Field, part: float) -> list[Part]:
    handle = np.abs(np.hypot(x - 0.5, y - 0.08) - 0.34 * part) - 0.1
    return [Part(handle, "accent"), Part(box(x, y, -0.16, 0.05, 0.62, 0.8, 0.15), "body")]


def _kite(x: Field, y: Field, part: float) -> list[Part]:
    bows = [(0.14, 0.72), (-0.12, 0.9)]
    return [
        *(Part(ellipse(x, y, cx, cy, 0.16 * part, 0.1 * part), "accent") for cx, cy in bows),
        Part(polygon(x, y, (0, -0.98), (0.7, -0.22), (0, 0.66), (-0.7, -0.22)), "body"),
    ]


CLASSES: dict[str, Callable[[Field, Field, float], list[Part]]] = {
    "fish": _fish,
    "car": _car,
    "house": _house,
    "mushroom": _mushroom,
    "rabbit": _rabbit,
    "rocket": _rocket,
    "boat": _boat,
    "butterfly": _butterfly,
    "mug": _mug,
    "kite": _kite,
}
"""Class name -> the parts of its shape, painted in order; `part` scales the accented pieces."""
