"""The ten backgrounds: flat colours and broad textures in frame coordinates.

A frame's short side spans [-1, 1] in both axes, x to the right, y down; every function is defined beyond the
frame too, so that a drifting camera never runs out of world. `shift` is a small random offset of the layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magdiff_curation.toyworld.shapes import Field

Picture = NDArray[Any]
"""RGB picture, float32 [H, W, 3], 0 to 1."""


def _blend(weight: Field, low: tuple[float, float, float], high: tuple[float, float, float]) -> Picture:
    weight = np.clip(weight, 0, 1)[..., None]
    picture: Picture = np.asarray(low, np.float32) * (1 - weight) + np.asarray(high, np.float32) * weight
    return picture


def _over(picture: Picture, cover: Field, colour: Picture) -> Picture:
    covered: Picture = picture + np.clip(cover, 0, 1)[..., None] * (colour - picture)
    return covered


def _edge(distance: Field, softness: float = 0.03) -> Field:
    cover: Field = np.clip(0.5 + distance / softness, 0, 1)
    return cover


def _meadow(x: Field, y: Field, shift: float) -> Picture:
    sky = _blend((y + 1) / 2, (0.45, 0.7, 0.95), (0.75, 0.9, 1.0))
    grass = _blend((y + 1) / 2 + 0.06 * np.sin(9 * x), (0.45, 0.72, 0.25), (0.2, 0.5, 0.12))
    return _over(sky, _edge(y - shift - 0.08 * np.sin(2.2 * x)), grass)


def _desert(x: Field, y: Field, shift: float) -> Picture:
    sky = _blend((y + 1) / 2, (0.98, 0.9, 0.7), (1.0, 0.82, 0.55))
    sand = _blend(0.5 + 0.5 * np.sin(5 * y + 2.5 * np.sin(1.4 * x)), (0.86, 0.68, 0.4), (0.74, 0.53, 0.28))
    return _over(sky, _edge(y - shift + 0.16 * np.sin(1.7 * x + 0.6)), sand)


def _sea(x: Field, y: Field, shift: float) -> Picture:
    sky = _blend((y + 1) / 2, (0.7, 0.85, 0.95), (0.88, 0.95, 0.98))
    water = _blend(0.5 + 0.5 * np.sin(14 * y + 1.2 * np.sin(3 * x)), (0.05, 0.28, 0.55), (0.1, 0.45, 0.7))
    return _over(sky, _edge(y - shift + 0.35), water)


def _night(x: Field, y: Field, shift: float) -> Picture:
    sky = _blend((y + 1) / 2, (0.02, 0.03, 0.12), (0.1, 0.1, 0.28))
    u, v = (x + shift) * 2.6, y * 2.6
    column, row = np.floor(u), np.floor(v)
    jitter = 0.25 * np.sin(12.9898 * column + 78.233 * row)
    radius = np.hypot(u - column - 0.5 - jitter, v - row - 0.5 + jitter)
    return _over(sky, _edge(0.1 - radius, 0.08), np.asarray([0.95, 0.95, 0.8], np.float32))


def _snow(x: Field, y: Field, shift: float) -> Picture:
    sky = _blend((y + 1) / 2, (0.62, 0.7, 0.8), (0.75, 0.8, 0.87))
    ground = _blend(0.5 + 0.5 * np.sin(2 * x + 3 * y), (0.9, 0.93, 0.98), (1.0, 1.0, 1.0))
    return _over(sky, _edge(y - shift + 0.1 * np.cos(2.6 * x)), ground)


def _bricks(x: Field, y: Field, shift: float) -> Picture:
    row = np.floor((y + shift) / 0.32)
    u = (x + shift) / 0.64 + 0.5 * (row % 2)
    joint = np.minimum(np.abs(u - np.round(u)) * 0.64, np.abs((y + shift) / 0.32 - np.round((y + shift) / 0.32)) * 0.32)
    tone = 0.5 + 0.5 * np.sin(7 * np.floor(u + 0.5) + 3 * row)
    return _over(
        _blend(tone, (0.6, 0.25, 0.18), (0.7, 0.33, 0.22)),
        _edge(0.03 - joint),
        np.asarray([0.82, 0.77, 0.7], np.float32),
    )


def _forest(x: Field, y: Field, shift: float) -> Picture:
    leaves = _blend(0.5 + 0.5 * np.sin(4 * y + 2 * np.sin(5 * x)), (0.06, 0.25, 0.1), (0.12, 0.36, 0.14))
    trunk = 0.12 - np.abs((x + shift) / 0.55 - np.round((x + shift) / 0.55)) * 0.55
    return _over(leaves, _edge(trunk), np.asarray([0.3, 0.19, 0.1], np.float32))


def _sunset(x: Field, y: Field, shift: float) -> Picture:
    sky = _blend((y + 1) / 2, (0.35, 0.12, 0.42), (0.98, 0.5, 0.2))
    sun = 0.45 - np.hypot(x - 0.3 - shift, y - 0.45)
    sky = _over(sky, _edge(sun), np.asarray([1.0, 0.85, 0.35], np.float32))
    return _over(sky, _edge(y - 0.7 - shift / 2), np.asarray([0.2, 0.08, 0.2], np.float32))


def _tiles(x: Field, y: Field, shift: float) -> Picture:
    u, v = (x + shift) / 0.5, (y - shift) / 0.5
    wave = np.sin(np.pi * u) * np.sin(np.pi * v)
    return _blend(0.5 + wave * 8, (0.25, 0.3, 0.36), (0.86, 0.88, 0.84))


def _curtain(x: Field, y: Field, shift: float) -> Picture:
    fold = 0.5 + 0.5 * np.sin(11 * (x + shift) + 0.3 * np.sin(2 * y))
    return _blend(fold, (0.38, 0.02, 0.12), (0.78, 0.1, 0.22))


BACKGROUNDS: dict[str, Callable[[Field, Field, float], Picture]] = {
    "meadow": _meadow,
    "desert": _desert,
    "sea": _sea,
    "night": _night,
    "snow": _snow,
    "bricks": _bricks,
    "forest": _forest,
    "sunset": _sunset,
    "tiles": _tiles,
    "curtain": _curtain,
}
"""Background name -> its picture at frame coordinates x and y."""
