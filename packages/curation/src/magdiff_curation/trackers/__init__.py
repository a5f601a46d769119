"""Trackers carry a subject's first mask through the frames of its clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from magdiff_curation.clips.masks import Image, Mask


class Tracker(Protocol):
    """Follows one subject through a clip, frame by frame, without holding the clip."""

    name: str
    """Model and revision, for the clip's provenance."""

    def track(self, frames: Iterable[Image], first_mask: Mask) -> Iterator[Mask]:
        """Yield exactly one mask, bool [H, W], per RGB frame, uint8 [H, W, 3]; `first_mask` belongs to frame 0.

        A subject that is gone has an empty mask; that is a result, not an error.
        """
        ...


__all__ = ["Tracker"]
