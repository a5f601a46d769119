"""SAM-Track's way (Cheng et al., 2023) from a label to a mask in every frame: ground, segment, track, look again.

The label is looked for at key frames only, and always by name; nothing else in the picture is ever segmented.

1. The first key frame with a box starts the track: the best box, segmented. Before it, the track runs backwards.
2. At every later key frame the label's boxes are compared with the tracked mask. One that overlaps it confirms it,
   and may redraw it.
3. Where the subject was lost, the box nearest to its last place is taken for it only if tracking backwards from there
   ends on the last known mask; what lies between is filled on the way.
4. The frames that are still empty, or too few confirmations, are a reason to drop the clip.

So subjects of the same name never take over from the one that is followed: one clip has one identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from magdiff_curation.clips.masks import Box, Frames, Image, Mask, Masks, bounding_box, intersection_over_union
from magdiff_curation.grounding import Detection
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.segment import Segmenter
from magdiff_curation.trackers import Tracker
from magdiff_curation.vision_config import SamTrackSettings

Look = Callable[[int], Sequence[Detection]]
"""The label's boxes in a frame, best first."""


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A subject in every frame."""

    masks: Masks
    """bool [F, H, W], none of them empty."""
    score: float
    """The grounder's score of the box that started the track."""
    agreement: float
    """Share of the later key frames with a box in which one agreed with the track; 1 where there were none."""


class SamTrack:
    """Finds a subject by its label and follows it."""

    def __init__(self, segmenter: Segmenter, tracker: Tracker, settings: SamTrackSettings) -> None:
        self.segmenter, self.tracker, self.settings = segmenter, tracker, settings

    def follow(
        self, frames: Frames, label: str, look: Look, key_frames: Sequence[int], check_first: Callable[[Mask], None]
    ) -> Followed:
        """Return the subject's masks in frames uint8 [F, H, W, 3].

        Args:
            frames: the clip.
            label: the subject's name, for messages.
            look: finds the label's boxes in a frame of `key_frames`.
            key_frames: where to look, in order.
            check_first: called with the first frame's mask as soon as it is known; may raise ClipRejected.

        Raises:
            ClipRejected: not found, several where one is wanted, lost, late, or not what the label's boxes show.
        """
        start, first, score = self._start(frames, label, look, key_frames)
        if start == 0:
            check_first(first)
        masks: list[Mask | None] = [None] * len(frames)
        later = [frame for frame in key_frames if frame > start]
        votes: list[bool] = []
        restart: tuple[int, Mask] | None = (start, first)
        while restart is not None:
            restart = self._run(frames, masks, *restart, look, later, votes)
        if start > 0:
            for index, tracked in enumerate(self.tracker.track(frames[: start + 1][::-1], first)):
                masks[start - index] = tracked if tracked.any() else None
        for index in range(1, len(frames)):
            known = masks[index]
            if known is not None and masks[index - 1] is None:
                self._bridge(frames, masks, index, known)
        followed = whole(label, masks)
        if start > 0:
            check_first(followed[0])
        agreement = sum(votes) / len(votes) if votes else 1.0
        if agreement < self.settings.min_agreement:
            raise ClipRejected(
                Reason.SUBJECT_LOST,
                f"in {len(votes) - sum(votes)} of {len(votes)} key frames {label!r} is found elsewhere than "
                f"tracked; at least {self.settings.min_agreement:g} of them must agree",
            )
        return Followed(masks=followed, score=score, agreement=round(agreement, 6))

    def _start(self, frames: Frames, label: str, look: Look, key_frames: Sequence[int]) -> tuple[int, Mask, float]:
        for frame in key_frames:
            detections = list(look(frame))
            if len(detections) > 1 and self.settings.instances == "only":
                raise ClipRejected(
                    Reason.SEVERAL_SUBJECTS, f"{len(detections)} boxes of {label!r} in frame {frame}; wanted is one"
                )
            for candidate in self._candidates(detections)[:1]:
                mask = self._draw(frames[frame], candidate)
                if mask.any():
                    return frame, mask, detections[0].score
        where = "the first frame" if len(key_frames) == 1 else f"any of {len(key_frames)} key frames"
        raise ClipRejected(Reason.SUBJECT_NOT_FOUND, f"no {label!r} in {where}")

    def _run(
        self,
        frames: Frames,
        masks: list[Mask | None],
        position: int,
        mask: Mask,
        look: Look,
        later: Sequence[int],
        votes: list[bool],
    ) -> tuple[int, Mask] | None:
        """Track from a frame's mask on; return the frame and mask from which to start again, None at the end."""
        last_box = bounding_box(mask)
        assert last_box is not None, "a track starts with a mask"
        for index, tracked in enumerate(self.tracker.track(frames[position:], mask), start=position):
            masks[index] = tracked if tracked.any() else None
            box = bounding_box(tracked)
            last_box = box or last_box
            if index == position or index not in later:
                continue
            candidates = self._candidates(look(index))
            if not candidates:
                continue
            if box is None:
                nearest = min(candidates, key=lambda boxes: _distance(_around(boxes), last_box))
                again = self._draw(frames[index], nearest)
                if again.any() and self._bridge(frames, masks, index, again):
                    return index, again
                continue
            closest = max(candidates, key=lambda boxes: box_overlap(_around(boxes), box))
            votes.append(box_overlap(_around(closest), box) >= self.settings.same_subject)
            if votes[-1] and self.settings.redraw:
                again = self._draw(frames[index], closest)
                if again.any():
                    return index, again
        return None

    def _candidates(self, detections: Sequence[Detection]) -> list[list[Box]]:
        """Return what may be the subject, best first, each as the boxes that make it up."""
        boxes = [detection.box for detection in detections]
        return [boxes] if boxes and self.settings.instances == "all" else [[box] for box in boxes]

    def _draw(self, image: Image, boxes: Sequence[Box]) -> Mask:
        mask: Mask = np.logical_or.reduce([self.segmenter.segment(image, box) for box in boxes])
        return mask

    def _bridge(self, frames: Frames, masks: list[Mask | None], index: int, mask: Mask) -> bool:
        """Fill in the gap before a frame by tracking back from its mask; return whether it is the same subject's.

        It is where the way back ends on the last mask that is known; nothing is filled in where it does not.
        """
        last = next((before for before in range(index - 1, -1, -1) if masks[before] is not None), None)
        if last is None:
            return False
        known = masks[last]
        assert known is not None, "it was looked for"
        back = list(self.tracker.track(frames[last : index + 1][::-1], mask))
        if intersection_over_union(back[-1], known) < self.settings.same_subject:
            return False
        for number, tracked in enumerate(back[1:-1], start=1):
            masks[index - number] = tracked if tracked.any() else None
        masks[index] = mask
        return True


def whole(label: str, masks: Sequence[Mask | None]) -> Masks:
    """Return one mask a frame as bool [F, H, W].

    Raises:
        ClipRejected: a frame has none.
    """
    empty = [index for index, mask in enumerate(masks) if mask is None]
    if not empty:
        return np.stack([mask for mask in masks if mask is not None])
    if empty == list(range(len(empty))):
        raise ClipRejected(
            Reason.SUBJECT_ENTERS_LATE, f"{label!r} is in the picture only from frame {len(empty)} of {len(masks)}"
        )
    raise ClipRejected(
        Reason.SUBJECT_LOST,
        f"{label!r} was lost in frame {empty[0]} of {len(masks)} and is missing in {len(empty)} of them",
    )


def box_overlap(left: Box, right: Box) -> float:
    """Return the intersection over union of two boxes, 0 to 1."""
    across = min(left[2], right[2]) - max(left[0], right[0])
    down = min(left[3], right[3]) - max(left[1], right[1])
    if across <= 0 or down <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (left, right)]
    return across * down / (sum(areas) - across * down)


def _around(boxes: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _distance(left: Box, right: Box) -> float:
    across = (left[0] + left[2] - right[0] - right[2]) / 2
    down = (left[1] + left[3] - right[1] - right[3]) / 2
    return across**2 + down**2
