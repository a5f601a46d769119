"""What a benchmark is made of: items to sample, and the rows that scoring them gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from magdiff_curation.clips.masks import Frames, Masks

Task = Literal["edit", "generate"]
Row = dict[str, Any]
"""One video's scores, as JSON takes them."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One video to make and score."""

    name: str
    """Unique within the benchmark; the video's file name."""
    task: Task
    prompt: str
    source: Frames
    """The source's frames, uint8 [F, H, W, 3]; generation sees only the first."""
    masks: Masks
    """The region that is kept, bool [F, H, W]."""
    score: Callable[[Frames], Row]
    """Made video -> its row."""
