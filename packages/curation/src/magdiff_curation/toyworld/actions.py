"""The ten actions: where the subject is, how large and how turned, at every moment of the clip.

Time runs from 0 (first frame) to 1 (last), so an action means the same at any number of frames; eight frames
are enough to tell every action from the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pose:
    """An offset in half short sides, a factor on the subject's size, and a turn in radians (clockwise)."""

    dx: float = 0.0
    dy: float = 0.0
    scale: float = 1.0
    angle: float = 0.0


ACTIONS: dict[str, Callable[[float, float], Pose]] = {
    "right": lambda t, strength: Pose(dx=0.32 * strength * (2 * t - 1)),
    "left": lambda t, strength: Pose(dx=-0.32 * strength * (2 * t - 1)),
    "rise": lambda t, strength: Pose(dy=-0.32 * strength * (2 * t - 1)),
    "sink": lambda t, strength: Pose(dy=0.32 * strength * (2 * t - 1)),
    "spin": lambda t, strength: Pose(angle=2 * math.pi * strength * t),
    "grow": lambda t, strength: Pose(scale=1.12 + 0.5 * strength * (t - 1)),
    "shrink": lambda t, strength: Pose(scale=1.12 - 0.5 * strength * t),
    "jump": lambda t, strength: Pose(dy=0.5 * strength * (0.5 - abs(math.sin(2 * math.pi * t)))),
    "shake": lambda t, strength: Pose(dx=0.24 * strength * math.sin(3.5 * math.pi * t)),
    "rock": lambda t, strength: Pose(angle=0.5 * strength * math.sin(3 * math.pi * t)),
}
"""Action name -> the pose at time t (0 to 1) for a strength of about 1 (0.85 to 1.15)."""
