"""What the harness asks of whoever makes videos: MagDiff and every baseline answer the same request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from magdiff_curation.clips.masks import Frames, Masks


@dataclass(frozen=True, kw_only=True)
class Request:
    """One video to make."""

    prompt: str
    frames: Frames
    """The source's whole frames, uint8 [n, H, W, 3]: 1 to generate from, as many as the video has to edit."""
    masks: Masks | None
    """Where the subject is, bool [n, H, W], for makers that take one; baselines see the whole image."""
    num_frames: int
    """How many frames are wanted."""
    seed: int


class Maker(Protocol):
    """Makes the videos that are scored."""

    @property
    def name(self) -> str:
        """Return the name it is asked for by."""

    @property
    def stamp(self) -> Mapping[str, Any]:
        """Return what the videos depend on, as JSON takes it."""

    def make(self, request: Request) -> Frames:
        """Return a video, uint8 [num_frames, h, w, 3], in the maker's own size; the same for the same request.

        Raises:
            ValueError: a request that it cannot serve.
        """
