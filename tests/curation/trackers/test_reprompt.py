"""`RepromptTracker` on toyworld clips whose true masks are known, and the flow that it shares."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from magdiff_curation.clips.masks import Box, Frames, Image, Mask, Masks, bounding_box, intersection_over_union
from magdiff_curation.segment import GrabCutSegmenter, GrabCutSettings
from magdiff_curation.toyworld.actions import ACTIONS
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_curation.trackers.flow import carry, grey
from magdiff_curation.trackers.reprompt import RepromptTracker
from magdiff_curation.vision_config import RepromptSettings


class TrueSegmenter:
    """Knows the truth: gives a picture's own mask within the box, but nothing in the frames that it fails on."""

    name = "truth"

    def __init__(self, frames: Frames, masks: Masks, fails: tuple[int, ...] = ()) -> None:
        self.known = {frame.tobytes(): index for index, frame in enumerate(frames)}
        self.masks, self.fails = masks, fails
        self.boxes: dict[int, Box] = {}

    def segment(self, image: Image, box: Box) -> Mask:
        index = self.known[image.tobytes()]
        self.boxes[index] = box
        x0, y0, x1, y1 = (round(edge) for edge in box)
        mask = np.zeros_like(self.masks[index])
        if index not in self.fails:
            mask[y0:y1, x0:x1] = self.masks[index][y0:y1, x0:x1]
        return mask


def clip(action: str = "right", index: int = 2, height: int = 128, width: int = 160) -> tuple[Frames, Masks]:
    scene = replace(sample_scene(4, index), action=action)
    return render(scene, height=height, width=width, num_frames=12)


def track(segmenter, frames: Frames, first: Mask, **settings: float) -> Masks:
    return np.stack(list(RepromptTracker(RepromptSettings(**settings), segmenter).track(frames, first)))


def overlaps(left: Masks, right: Masks) -> list[float]:
    return [intersection_over_union(*pair) for pair in zip(left, right, strict=True)]


@pytest.mark.parametrize("action", list(ACTIONS))
def test_every_action_is_followed_with_grabcut(action: str) -> None:
    frames, truth = clip(action)
    tracked = track(GrabCutSegmenter(GrabCutSettings()), frames, truth[0])
    assert tracked.dtype == np.bool_
    assert np.array_equal(tracked[0], truth[0])
    assert min(overlaps(tracked, truth)) > 0.8, overlaps(tracked, truth)


def test_what_the_segmenter_draws_is_taken_as_it_is() -> None:
    frames, truth = clip()
    segmenter = TrueSegmenter(frames, truth)
    tracked = track(segmenter, frames, truth[0])
    assert list(segmenter.boxes) == list(range(1, 12))
    assert min(overlaps(tracked, truth)) > 0.97
    assert RepromptTracker(RepromptSettings(), segmenter).name.endswith("with truth")


def test_the_prompt_reaches_beyond_the_carried_mask_but_not_beyond_the_frame() -> None:
    frames, truth = clip("grow")
    segmenter = TrueSegmenter(frames, truth)
    track(segmenter, frames, truth[0], margin=0.1)
    for index, box in segmenter.boxes.items():
        true = bounding_box(truth[index])
        assert true is not None
        widths = [edges[2] - edges[0] for edges in (box, true)]
        assert 1.05 < widths[0] / widths[1] < 1.35
        assert min(box) >= 0
        assert box[2] <= 160
        assert box[3] <= 128


def test_where_the_segmenter_fails_the_carried_mask_stays_and_the_next_frame_is_drawn_again() -> None:
    frames, truth = clip()
    with_failure = track(TrueSegmenter(frames, truth, fails=(5,)), frames, truth[0])
    without = track(TrueSegmenter(frames, truth), frames, truth[0])
    assert not np.array_equal(with_failure[5], without[5])
    assert intersection_over_union(with_failure[5], truth[5]) > 0.85
    assert np.array_equal(with_failure[:5], without[:5])
    assert min(overlaps(with_failure[6:], truth[6:])) > 0.97


def test_a_drawing_of_something_else_does_not_take_over() -> None:
    class Distracted(TrueSegmenter):
        def segment(self, image: Image, box: Box) -> Mask:
            mask = super().segment(image, box)
            return ~mask if self.known[image.tobytes()] == 5 else mask

    frames, truth = clip()
    tracked = track(Distracted(frames, truth), frames, truth[0])
    assert min(overlaps(tracked, truth)) > 0.85
    taken = track(Distracted(frames, truth), frames, truth[0], agreement=0.0)
    assert intersection_over_union(taken[5], truth[5]) == 0


def test_the_flow_is_computed_at_the_reduced_size_and_masks_are_not() -> None:
    frames, truth = clip(height=256, width=320)
    tracked = track(TrueSegmenter(frames, truth, fails=(3,)), frames, truth[0], work_short_side_px=96)
    assert tracked.shape == (12, 256, 320)
    assert intersection_over_union(tracked[3], truth[3]) > 0.85
    assert min(overlaps(tracked, truth)) > 0.85


def test_a_subject_that_left_the_picture_has_empty_masks_even_when_it_comes_back() -> None:
    scene, truth = render(replace(sample_scene(4, 2), action="rock"), height=128, width=480, num_frames=1)
    starts = [*range(160, 320, 16), *range(320, 159, -16)]
    frames = np.stack([scene[0, :, start : start + 160] for start in starts])
    masks = np.stack([truth[0, :, start : start + 160] for start in starts])
    assert not masks[10].any()
    assert masks[-1].any()
    tracked = track(TrueSegmenter(frames, masks), frames, masks[0])
    assert min(overlaps(tracked[:5], masks[:5])) > 0.9
    assert not tracked[10:].any()


def test_a_mask_under_the_smallest_area_is_lost() -> None:
    frames, truth = clip()
    area = int(truth[0].sum())
    tracked = track(TrueSegmenter(frames, truth), frames, truth[0], smallest_area_px=2 * area)
    assert np.array_equal(tracked[0], truth[0])
    assert not tracked[1:].any()


def test_an_empty_first_mask_is_followed_by_empty_ones_without_asking_the_segmenter() -> None:
    frames, truth = clip()
    segmenter = TrueSegmenter(frames, truth)
    assert not track(segmenter, frames, np.zeros_like(truth[0])).any()
    assert segmenter.boxes == {}


def test_a_frame_of_another_size_is_refused() -> None:
    frames, truth = clip()
    tracker = RepromptTracker(RepromptSettings(), TrueSegmenter(frames, truth))
    with pytest.raises(ValueError, match=r"frame 1 has size \(128, 128\), the first mask \(128, 160\)"):
        list(tracker.track([frames[0], frames[1][:, :128]], truth[0]))


def test_frames_are_taken_one_at_a_time() -> None:
    frames, truth = clip()
    taken = 0

    def feed():
        nonlocal taken
        for frame in frames:
            taken += 1
            yield frame

    tracker = RepromptTracker(RepromptSettings(), TrueSegmenter(frames, truth))
    for number, _ in enumerate(tracker.track(feed(), truth[0]), start=1):
        assert taken == number


def test_the_first_mask_is_not_the_callers_own() -> None:
    frames, truth = clip()
    first = truth[0].copy()
    next(iter(RepromptTracker(RepromptSettings(), TrueSegmenter(frames, truth)).track(frames, first)))[:] = False
    assert np.array_equal(first, truth[0])


@pytest.mark.parametrize("shift", [(5, 0), (-4, 3), (0, -6)])
def test_flow_carries_a_mask_as_far_as_the_picture_moved(shift: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8), (0, 0), 2)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    mask = np.zeros((120, 160), np.bool_)
    mask[40:80, 50:100] = True
    right, down = shift
    moved, expected = (np.roll(array, (down, right), (0, 1)) for array in (picture, mask))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    carried = carry(flow, grey(moved), grey(picture), mask)
    assert carried.dtype == np.bool_
    assert intersection_over_union(carried, expected) > 0.97
    assert intersection_over_union(carried, mask) < 0.9


def test_flow_brings_nothing_from_beyond_the_frame() -> None:
    rng = np.random.default_rng(1)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (120, 200, 3), dtype=np.uint8), (0, 0), 2)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    before, now = np.ascontiguousarray(wide[:, 10:170]), np.ascontiguousarray(wide[:, :160])
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    carried = carry(flow, grey(now), grey(before), np.ones((120, 160), np.bool_))
    assert carried[10:-10, 14:150].all()
    assert carried[10:-10, :4].mean() < 0.2


def test_a_subject_that_vanishes_is_lost_after_a_few_frames() -> None:
    frames, truth = clip()
    empty = truth.copy()
    empty[4:] = False
    tracked = track(TrueSegmenter(frames, empty), frames, truth[0], patience_frames=3)
    assert tracked[:6].any(axis=(1, 2)).all()
    assert not tracked[6:].any()
