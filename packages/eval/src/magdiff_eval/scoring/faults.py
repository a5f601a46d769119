"""Why a video has no score: a closed set of reasons, and the rules that a folder's videos are held to.

What a file holds is found once and kept (`Facts`); whether that is accepted is judged from the facts each time, so that
another expectation costs no decoding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

GIF_STEP_SECONDS = 0.01
"""Pictures of a GIF last whole hundredths of a second."""
_RATE_TOLERANCE = 5e-4  # of a rate; 23.976 and 24, which differ by twice as much, are told apart


class Reason(StrEnum):
    """One word for a row; the detail says the rest."""

    UNREADABLE = "unreadable"
    REFUSED = "refused"
    LIMIT_EXCEEDED = "limit_exceeded"
    CHANGED = "changed_while_read"
    FRAMES_MISSING = "frames_missing"
    NO_FRAMES = "no_frames"
    ONE_FRAME = "one_frame"
    TOO_SHORT = "too_short"
    ODD_SIZE = "odd_size"
    FRAME_RATE_DIFFERS = "frame_rate_differs"
    SIZE_DIFFERS = "size_differs"
    LENGTH_NOT_TAKEN = "length_not_taken"
    NOT_FINITE = "not_finite"
    COMPANION_DIFFERS = "companion_differs"
    NOT_THERE = "not_there"
    ITEM_LACKS = "item_lacks"
    NOT_SCORED = "not_scored"


PASSING = frozenset({Reason.LIMIT_EXCEEDED, Reason.CHANGED})
"""What may be otherwise next time, on a machine with less to do: tried again by every run."""


@dataclass(frozen=True)
class Fault:
    """A reason, and a sentence with the value and the remedy."""

    reason: Reason
    detail: str

    def row(self) -> dict[str, str]:
        """Return the fault as a row has it."""
        return {"reason": self.reason.value, "detail": self.detail}

    @classmethod
    def of_row(cls, row: dict[str, str]) -> Fault:
        """Return the fault that `row` wrote."""
        return cls(Reason(row["reason"]), row["detail"])


class VideoFault(Exception):
    """A video goes no further, and becomes a row with this fault."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.fault = Fault(reason, detail)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a video that can be read is."""

    num_frames: int
    width: int
    height: int
    """Of the frames, in pixels."""
    frame_rate: float | None
    """Frames per second; None for a folder of pictures, which has none."""
    kind: str
    """The file's suffix without its dot, or `frames` for a folder of pictures."""

    def row(self) -> dict[str, Any]:
        """Return the facts as a row has them."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """What every video of a folder must be to count."""

    min_frames: int = 2
    """Fewer are too short; one is never enough."""
    frame_rate: float | None = None
    """Frames per second; folders of pictures have none and pass."""
    size_px: tuple[int, int] | None = None
    """Width and height."""
    equal_sizes: bool = False
    """All must have one size: `size_px`, or else the commonest, of several the smallest."""


ANY_VIDEO = Expectations()
"""Two frames or more, of any size and rate."""


def judge(facts: Facts, expected: Expectations) -> Fault | None:
    """Return what is wrong with a video by itself, or None."""
    if facts.num_frames < 2:
        return Fault(Reason.ONE_FRAME, "it has one frame: a picture is no video")
    if facts.num_frames < expected.min_frames:
        return Fault(
            Reason.TOO_SHORT, f"it has {facts.num_frames} frames, {expected.min_frames} are asked for (min_frames)"
        )
    if expected.frame_rate is not None and facts.frame_rate is not None and not _same_rate(facts, expected.frame_rate):
        return Fault(
            Reason.FRAME_RATE_DIFFERS,
            f"it has {facts.frame_rate:g} frames per second, {expected.frame_rate:g} are expected (frame_rate): "
            "write it again at that rate",
        )
    return _judge_size(facts, expected.size_px)


def commonest_size(videos: Iterable[Facts]) -> tuple[int, int] | None:
    """Return the width and height that most videos have, of several such the smallest; None for no videos."""
    counts = Counter((facts.width, facts.height) for facts in videos)
    return min(counts, key=lambda size: (-counts[size], size)) if counts else None


def _judge_size(facts: Facts, size: tuple[int, int] | None) -> Fault | None:
    if size is None or (facts.width, facts.height) == size:
        return None
    return Fault(
        Reason.SIZE_DIFFERS,
        f"it has {facts.width}x{facts.height} px, {size[0]}x{size[1]} are expected: write all videos at one size",
    )


def _same_rate(facts: Facts, expected: float) -> bool:
    assert facts.frame_rate is not None
    if facts.kind == "gif":
        return abs(1 / facts.frame_rate - 1 / expected) <= GIF_STEP_SECONDS / 2 + 1e-6
    return abs(facts.frame_rate - expected) < _RATE_TOLERANCE * expected
