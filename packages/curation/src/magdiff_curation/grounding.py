"""Where the subject is: boxes for a label in a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from magdiff_curation.clips.masks import Box, Image
from magdiff_curation.reasons import ClipRejected, Reason


@dataclass(frozen=True, kw_only=True)
class GroundingRequest:
    """A picture, uint8 [H, W, 3], the label to find in it, and what the manifest says of it."""

    image: Image
    frame: int
    """Number of the picture in its clip."""
    label: str
    source_size: tuple[int, int]
    """Width and height of the source in pixels, the frame of the manifest's boxes."""
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """One box in the picture's pixels and how sure the grounder is, 0 to 1."""

    box: Box
    score: float


class Grounder(Protocol):
    """Anything that finds a label in a picture."""

    name: str
    """Model and revision, for the clip's provenance."""
    any_frame: bool
    """Whether it can look at any frame; False where it knows the first one only."""

    def ground(self, request: GroundingRequest) -> list[Detection]:
        """Return the boxes found, best first; an empty list where the subject is not in the picture."""
        ...


class ManifestGrounder:
    """Takes the first box from a column of the manifest: four numbers, or a string of them, in source pixels."""

    any_frame = False

    def __init__(self, column: str) -> None:
        self.column, self.name = column, f"manifest:{column}"

    def ground(self, request: GroundingRequest) -> list[Detection]:
        """Return the box, scaled to the picture and clipped to it.

        Raises:
            ClipRejected: no box, not four numbers, or none of it inside the picture.
        """
        value = request.fields.get(self.column)
        numbers = value.replace(",", " ").split() if isinstance(value, str) else value
        try:
            x0, y0, x1, y1 = (float(number) for number in numbers or ())
        except (TypeError, ValueError):
            raise ClipRejected(
                Reason.BOX_UNUSABLE,
                f"the manifest's {self.column!r} must be x0, y0, x1, y1 in source pixels, got {value!r}",
            ) from None
        height, width = request.image.shape[:2]
        scale_x, scale_y = width / request.source_size[0], height / request.source_size[1]
        box = (max(x0 * scale_x, 0.0), max(y0 * scale_y, 0.0), min(x1 * scale_x, width), min(y1 * scale_y, height))
        if not (box[0] + 1 <= box[2] and box[1] + 1 <= box[3]):
            raise ClipRejected(Reason.BOX_UNUSABLE, f"box {value!r} has no area within {request.source_size} px")
        return [Detection(box=box, score=1.0)]


class ManifestFirstGrounder:
    """Takes the manifest's box for the first frame where there is one, and asks a detector otherwise."""

    any_frame = True

    def __init__(self, manifest: ManifestGrounder, detector: Grounder) -> None:
        self.manifest, self.detector = manifest, detector
        self.name = f"{manifest.name}, else {detector.name}"

    def ground(self, request: GroundingRequest) -> list[Detection]:
        """Return the boxes found, best first.

        Raises:
            ClipRejected: the manifest has a box that cannot be used.
        """
        if request.frame == 0 and request.fields.get(self.manifest.column):
            return self.manifest.ground(request)
        return self.detector.ground(request)
