"""The paper's three filtering rules (Supplement C): resolution, area, meaning. Each names its value and its limit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from magdiff_curation.config import FilterSettings
from magdiff_curation.reasons import ClipRejected, Reason

WITHOUT_MEANING = frozenset(
    [
        "background",
        "foreground",
        "picture",
        "image",
        "photo",
        "video",
        "frame",
        "scene",
        "view",
        "screen",
        "color",
        "colour",
        "something",
        "nothing",
        "anything",
        "thing",
        "things",
        "it",
        "this",
        "that",
        "he",
        "she",
        "they",
        "them",
        "i",
        "you",
        "we",
        "unknown",
        "none",
        "other",
        "red",
        "green",
        "blue",
        "yellow",
        "black",
        "white",
        "gray",
        "grey",
        "orange",
        "purple",
        "pink",
        "brown",
        "left",
        "right",
        "top",
        "bottom",
        "middle",
        "center",
        "centre",
        "part",
        "side",
        "area",
        "lot",
        "kind",
    ]
)
"""Words that name no subject when they stand alone."""


def check_short_side(width: int, height: int, settings: FilterSettings) -> None:
    """Raise ClipRejected where the source's short side is under the limit (rule 1)."""
    if min(width, height) < settings.min_short_side_px:
        raise ClipRejected(
            Reason.SHORT_SIDE_TOO_SMALL,
            f"{width}x{height} px: the short side {min(width, height)} is under {settings.min_short_side_px}",
        )


def check_area(ratios: Sequence[float], settings: FilterSettings) -> None:
    """Raise ClipRejected where the subject's share of the frame is out of range (rule 2).

    Args:
        ratios: the share per frame, 0 to 1; which of them count is `settings.area_frames`.
    """
    counted = {"first": [ratios[0]], "mean": [sum(ratios) / len(ratios)], "every": list(ratios)}[settings.area_frames]
    which = {"first": "in the first frame", "mean": "on average", "every": "in at least one frame"}[
        settings.area_frames
    ]
    if min(counted) < settings.min_area_ratio:
        raise ClipRejected(
            Reason.AREA_TOO_SMALL, f"the subject covers {min(counted):.3f} {which}, under {settings.min_area_ratio}"
        )
    if max(counted) > settings.max_area_ratio:
        raise ClipRejected(
            Reason.AREA_TOO_LARGE, f"the subject covers {max(counted):.3f} {which}, over {settings.max_area_ratio}"
        )


def check_meaning(label: str | None) -> None:
    """Raise ClipRejected where there is no label, or one that names no subject (rule 3)."""
    if label is None:
        raise ClipRejected(Reason.LABEL_MISSING, "the answer matched no subject word and the caption has no noun")
    words = re.findall(r"[^\W\d_]{2,}", label.lower())
    if not [word for word in words if word not in WITHOUT_MEANING]:
        raise ClipRejected(Reason.LABEL_WITHOUT_MEANING, f"label {label[:80]!r} names no subject")
