"""Key frames, lost and late subjects, several instances: with a segmenter and a tracker whose answers are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from magdiff_curation.grounding import Detection
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.sam_track import SamTrack, box_overlap
from magdiff_curation.vision_config import SamTrackSettings

SIZE = 40
FRAMES = np.stack([np.full((SIZE, SIZE, 3), index, np.uint8) for index in range(12)])
"""Every pixel tells its frame's number, so that a fake can know where it is."""


def square(left: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.bool_)
    mask[10:20, left : left + 10] = True
    return mask


def box(left: int, score: float = 0.9) -> Detection:
    return Detection(box=(left, 10, left + 10, 20), score=score)


class BoxSegmenter:
    name = "box"

    def segment(self, image: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
        return square(int(box[0]))


class ScriptedTracker:
    """Follows a subject whose left edge in every frame is known; None where it cannot be seen."""

    name = "scripted"

    def __init__(self, lefts: list[int | None]) -> None:
        self.lefts, self.runs = lefts, []

    def track(self, frames: Iterable[np.ndarray], first_mask: np.ndarray) -> Iterator[np.ndarray]:
        numbers = [int(frame[0, 0, 0]) for frame in frames]
        self.runs.append(numbers)
        lost = False
        for position, number in enumerate(numbers):
            lost = lost or self.lefts[number] is None
            if position == 0:
                yield first_mask
            else:
                yield np.zeros_like(first_mask) if lost else square(self.lefts[number])


def follow(tracker: ScriptedTracker, boxes: dict[int, list[Detection]], **settings):
    sam_track = SamTrack(BoxSegmenter(), tracker, SamTrackSettings(**settings))
    return sam_track.follow(FRAMES, "dog", lambda frame: boxes.get(frame, []), range(0, 12, 4), lambda _mask: None)


def reason(tracker: ScriptedTracker, boxes: dict[int, list[Detection]], **settings) -> Reason:
    with pytest.raises(ClipRejected) as rejected:
        follow(tracker, boxes, **settings)
    return rejected.value.reason


def test_a_subject_that_is_seen_throughout_is_tracked_once_and_confirmed() -> None:
    tracker = ScriptedTracker([5] * 12)
    followed = follow(tracker, {0: [box(5)], 4: [box(6)], 8: [box(5)]})
    assert tracker.runs == [list(range(12))]
    assert (followed.masks == square(5)).all()
    assert (followed.score, followed.agreement) == (0.9, 1.0)


def test_a_lost_subject_is_found_again_by_its_label_and_the_gap_is_tracked_backwards() -> None:
    # Forwards it is lost from frame 5 on; backwards from frame 8 it can be seen.
    class OneWay(ScriptedTracker):
        def track(self, frames, first_mask):
            numbers = [int(frame[0, 0, 0]) for frame in frames]
            self.runs.append(numbers)
            for position, number in enumerate(numbers):
                forwards_lost = numbers[0] == 0 and number >= 5
                yield first_mask if position == 0 else square(5) & (not forwards_lost)

    tracker = OneWay([5] * 12)
    followed = follow(tracker, {0: [box(5)], 8: [box(5)]})
    assert tracker.runs == [list(range(12)), [8, 7, 6, 5, 4], [8, 9, 10, 11]]
    assert (followed.masks == square(5)).all()


def test_a_subject_that_stays_lost_drops_the_clip_with_the_frame() -> None:
    tracker = ScriptedTracker([5] * 6 + [None] * 6)
    with pytest.raises(ClipRejected, match="lost in frame 6 of 12 and is missing in 6") as rejected:
        follow(tracker, {0: [box(5)]})
    assert rejected.value.reason == Reason.SUBJECT_LOST


def test_a_subject_found_late_is_tracked_back_to_the_start() -> None:
    tracker = ScriptedTracker([5] * 12)
    followed = follow(tracker, {4: [box(5)]})
    assert tracker.runs == [list(range(4, 12)), [4, 3, 2, 1, 0]]
    assert (followed.masks == square(5)).all()


def test_a_subject_that_enters_late_drops_the_clip_with_its_first_frame() -> None:
    tracker = ScriptedTracker([None, None, *[5] * 10])
    with pytest.raises(ClipRejected, match="only from frame 2") as rejected:
        follow(tracker, {4: [box(5)]})
    assert rejected.value.reason == Reason.SUBJECT_ENTERS_LATE


def test_no_box_in_any_key_frame_is_a_subject_not_found() -> None:
    assert reason(ScriptedTracker([5] * 12), {3: [box(5)]}) == Reason.SUBJECT_NOT_FOUND


def test_another_subject_of_the_same_name_never_takes_over() -> None:
    tracker = ScriptedTracker([5] * 12)
    followed = follow(tracker, {0: [box(5), box(25, 0.8)], 4: [box(25, 0.95), box(5, 0.6)], 8: [box(25)]}, redraw=True)
    assert (followed.masks == square(5)).all()
    assert followed.agreement == 0.5


def test_a_track_that_the_label_is_never_found_in_again_drops_the_clip() -> None:
    boxes = {0: [box(5)], 4: [box(25)], 8: [box(25)]}
    assert reason(ScriptedTracker([5] * 12), boxes) == Reason.SUBJECT_LOST


def test_a_gap_that_the_tracker_itself_ends_is_filled() -> None:
    class Blinks(ScriptedTracker):
        def track(self, frames, first_mask):
            numbers = [int(frame[0, 0, 0]) for frame in frames]
            self.runs.append(numbers)
            for position, number in enumerate(numbers):
                yield first_mask if position == 0 else square(5) & (len(numbers) < 12 or number not in (5, 6))

    tracker = Blinks([5] * 12)
    followed = follow(tracker, {0: [box(5)]})
    assert tracker.runs == [list(range(12)), [7, 6, 5, 4]]
    assert (followed.masks == square(5)).all()


def test_after_a_loss_another_subject_of_the_same_name_does_not_take_over() -> None:
    # From frame 6 on the tracker sees nothing at the left; the one at the right stands there all the time.
    class TwoDogs(ScriptedTracker):
        def track(self, frames, first_mask):
            numbers = [int(frame[0, 0, 0]) for frame in frames]
            self.runs.append(numbers)
            for position, number in enumerate(numbers):
                is_right = first_mask[15, 30]
                yield first_mask if position == 0 else square(25) if is_right else square(5) & (number < 6)

    tracker = TwoDogs([])
    with pytest.raises(ClipRejected, match="lost in frame 6 of 12 and is missing in 6") as rejected:
        follow(tracker, {0: [box(5), box(25, 0.8)], 4: [box(5)], 8: [box(25)]})
    assert rejected.value.reason == Reason.SUBJECT_LOST
    assert tracker.runs[1] == [8, 7, 6, 5]


@pytest.mark.parametrize("instances", ["best", "all"])
def test_several_subjects_are_one_or_all_as_one(instances: str) -> None:
    tracker = ScriptedTracker([5] * 12)
    first: list[np.ndarray] = []
    SamTrack(BoxSegmenter(), tracker, SamTrackSettings(instances=instances)).follow(
        FRAMES, "dog", lambda frame: [box(5), box(25, 0.8)] if frame == 0 else [], range(0, 12, 4), first.append
    )
    wanted = square(5) | square(25) if instances == "all" else square(5)
    assert np.array_equal(first[0], wanted)


def test_several_subjects_drop_the_clip_where_only_one_is_wanted() -> None:
    boxes = {0: [box(5), box(25, 0.8)]}
    assert reason(ScriptedTracker([5] * 12), boxes, instances="only") == Reason.SEVERAL_SUBJECTS


def test_all_subjects_together_are_confirmed_and_redrawn_together() -> None:
    class Pair(ScriptedTracker):
        def track(self, frames, first_mask):
            for position, _ in enumerate(frames):
                yield first_mask if position == 0 else square(5) | square(25)

    boxes = {frame: [box(5), box(25, 0.8)] for frame in (0, 4, 8)}
    followed = follow(Pair([]), boxes, instances="all", redraw=True)
    assert (followed.masks == (square(5) | square(25))).all()
    assert followed.agreement == 1.0


def test_the_first_frames_mask_is_checked_even_where_the_track_starts_later() -> None:
    tracker, checked = ScriptedTracker([5] * 4 + [7] * 8), []
    SamTrack(BoxSegmenter(), tracker, SamTrackSettings()).follow(
        FRAMES, "dog", lambda frame: [box(7)] if frame == 4 else [], range(0, 12, 4), checked.append
    )
    assert [np.array_equal(mask, square(5)) for mask in checked] == [True]


def test_redrawing_starts_the_tracker_again_at_every_confirmed_key_frame() -> None:
    tracker = ScriptedTracker([5] * 12)
    follow(tracker, {0: [box(5)], 4: [box(6)], 8: [box(5)]}, redraw=True)
    assert tracker.runs == [list(range(12)), list(range(4, 12)), list(range(8, 12))]


def test_box_overlap_is_intersection_over_union() -> None:
    assert box_overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(50 / 150)
    assert box_overlap((0, 0, 10, 10), (10, 0, 20, 10)) == 0
