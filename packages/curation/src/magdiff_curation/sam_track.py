"""SAM-Track's way (Cheng et al., 2023) from a label to a mask in every frame: ground, segment, track, look again.

The label is looked for at key frames only, and always by name; nothing else in the picture is ever segmented.

1. The first key frame with a box starts the track: the best box, segmented. Before it, the track runs backwards.
2. At every later key frame the label's boxes are compared with the tracked mask. One that overlaps it confirms it
   (and may redraw it); where the subject was lost, the box nearest to its last place starts it again, as the same one.
3. What was lost before it was found again is tracked backwards from there.
4. The frames that are still empty, or too few confirmations, are a reason to drop the clip.

Boxes of other subjects of the same name never replace the one that is followed, so one clip has one identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from magdiff_curation.clips.masks import Box, Frames, Mask, Masks, bounding_box
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
            check_first: called with the first mask, before any tracking; may raise ClipRejected.

        Raises:
            ClipRejected: not found, several where one is wanted, lost, late, or not what the label's boxes show.
        """
        start, first, score = self._start(frames, label, look, key_frames)
        check_first(first)
        masks: list[Mask | None] = [None] * len(frames)
        later = [frame for frame in key_frames if frame > start]
        votes: list[bool] = []
        restart: tuple[int, Mask] | None = (start, first)
        while restart is not None:
            restart = self._run(frames, masks, *restart, look, later, votes)
        self._backwards(frames, masks, start, 0)
        self._fill_gaps(frames, masks, later)
        followed = whole(label, masks)
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
            chosen = detections if self.settings.instances == "all" else detections[:1]
            drawn = [self.segmenter.segment(frames[frame], detection.box) for detection in chosen]
            mask: Mask = np.logical_or.reduce(drawn) if drawn else np.zeros(frames.shape[1:3], np.bool_)
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
        for index, tracked in enumerate(self.tracker.track(frames[position:], mask), start=position):
            masks[index] = tracked if tracked.any() else None
            last_box = bounding_box(tracked) or last_box
            if index == position or index not in later:
                continue
            detections = look(index)
            again = self._look_again(frames[index], tracked, last_box, detections)
            if detections and tracked.any():
                votes.append(again is not None)
            if again is not None and (self.settings.redraw or not tracked.any()):
                return index, again
        return None

    def _look_again(
        self, image: np.ndarray, tracked: Mask, last_box: Box | None, detections: Sequence[Detection]
    ) -> Mask | None:
        """Return the subject drawn anew from the box that means it, or None where no box does."""
        if not detections:
            return None
        box = bounding_box(tracked)
        if box is not None:
            best = max(detections, key=lambda detection: box_overlap(detection.box, box))
            if box_overlap(best.box, box) < self.settings.same_subject:
                return None
        else:
            assert last_box is not None, "a track starts with a mask"
            best = min(detections, key=lambda detection: _distance(detection.box, last_box))
        drawn = self.segmenter.segment(image, best.box)
        return drawn if drawn.any() else None

    def _backwards(self, frames: Frames, masks: list[Mask | None], start: int, end: int) -> None:
        """Track from a known mask back to an earlier frame, filling in what is empty."""
        known = masks[start]
        if start <= end or known is None:
            return
        for index, tracked in zip(
            range(start, end - 1, -1), self.tracker.track(frames[end : start + 1][::-1], known), strict=True
        ):
            if masks[index] is None and tracked.any():
                masks[index] = tracked

    def _fill_gaps(self, frames: Frames, masks: list[Mask | None], later: Sequence[int]) -> None:
        for frame in later:
            if masks[frame] is not None and masks[frame - 1] is None:
                begin = frame - 1
                while begin > 0 and masks[begin - 1] is None:
                    begin -= 1
                self._backwards(frames, masks, frame, begin)


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


def _distance(left: Box, right: Box) -> float:
    across = (left[0] + left[2] - right[0] - right[2]) / 2
    down = (left[1] + left[3] - right[1] - right[3]) / 2
    return across**2 + down**2
