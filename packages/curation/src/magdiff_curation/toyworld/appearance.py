"""A subject's looks: what no caption mentions, drawn from continuous ranges.

Patterns stay coarse (at most two cycles across the subject) because a small autoencoder must be able to carry
them. The body's base colour is always the lighter of its two, so that an appearance has one description.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from magdiff_curation.toyworld.shapes import Field

PATTERNS = ("stripes", "halves", "spot", "quarters")
Colour = tuple[float, float, float]
"""Red, green, blue, 0 to 1."""


@dataclass(frozen=True)
class Appearance:
    """The looks of one subject; `aspect` stretches its width, `part` scales its accented pieces."""

    base: Colour
    second: Colour
    accent: Colour
    pattern: str
    angle: float
    phase: float
    aspect: float
    part: float

    def vector(self) -> np.ndarray:
        """Return what the oracle reads back, float64 [11]: three colours (0 to 1), aspect, part."""
        return np.array([*self.base, *self.second, *self.accent, self.aspect, self.part])


def luma(colour: Colour) -> float:
    """Return a colour's brightness, 0 to 1 (Rec. 601 weights)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def sample_appearance(rng: np.random.Generator) -> Appearance:
    """Return an appearance drawn at random: vivid colours that differ in hue and in brightness."""
    while True:
        hue = rng.uniform()
        colours = [_vivid(rng, hue), _vivid(rng, hue + rng.uniform(0.2, 0.8))]
        second, base = sorted(colours, key=luma)
        if luma(base) - luma(second) > 0.15:
            break
    return Appearance(
        base=base,
        second=second,
        accent=_vivid(rng, rng.uniform()),
        pattern=str(rng.choice(PATTERNS)),
        angle=float(rng.uniform(0, np.pi)),
        phase=float(rng.uniform(-0.15, 0.15)),
        aspect=float(rng.uniform(0.86, 1.16)),
        part=float(rng.uniform(0.82, 1.18)),
    )


def pattern_distance(appearance: Appearance, x: Field, y: Field) -> Field:
    """Return the signed distance, in local units, to where the second colour shows (positive there)."""
    cosine, sine = np.cos(appearance.angle), np.sin(appearance.angle)
    u, v = x * cosine + y * sine, -x * sine + y * cosine
    distance: Field
    match appearance.pattern:
        case "stripes":
            cycles = 0.75
            distance = np.sin(2 * np.pi * (cycles * u + appearance.phase)) / (2 * np.pi * cycles)
        case "halves":
            distance = u + appearance.phase
        case "spot":
            distance = 0.42 + appearance.phase / 2 - np.hypot(x - 0.15 * cosine, y - 0.15 * sine)
        case "quarters":
            u, v = u + appearance.phase, v + appearance.phase
            distance = np.sign(u * v) * np.minimum(np.abs(u), np.abs(v))
        case other:
            raise ValueError(f"unknown pattern {other!r}; the patterns are {', '.join(PATTERNS)}")
    return distance


def _vivid(rng: np.random.Generator, hue: float) -> Colour:
    return colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.55, 1), rng.uniform(0.55, 1))
