"""`OpticalFlowTracker` on drawn clips whose true masks are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from magdiff_curation.clips.masks import Image, Mask, intersection_over_union
from magdiff_curation.trackers.optical_flow import OpticalFlowSettings, OpticalFlowTracker

SIDE = 256
Clip = tuple[list[Image], list[Mask]]


@pytest.fixture
def tracker() -> OpticalFlowTracker:
    return OpticalFlowTracker(OpticalFlowSettings())


@pytest.fixture
def keep_thread_count() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def field(height: int = SIDE, width: int = SIDE) -> Image:
    """Return a smooth background [H, W, 3]."""
    y, x = np.mgrid[:height, :width]
    return np.stack((90 + 80 * x / width, 120 + 80 * y / height, 200 - 90 * x / width), axis=-1).astype(np.uint8)


def bricks() -> Image:
    """Return a brick wall [256, 256, 3], each brick of its own brown."""
    image = np.full((SIDE, SIDE, 3), (150, 90, 70), dtype=np.uint8)
    random = np.random.default_rng(0)
    for row, y in enumerate(range(0, SIDE, 16)):
        for x in range(-16 * (row % 2), SIDE, 32):
            image[y + 1 : y + 15, max(0, x + 1) : x + 31] = random.integers((135, 55, 35), (185, 105, 85))
    return image


def ellipse_on(
    background: Image, centre: tuple[float, float], radii: tuple[float, float], degrees: float
) -> tuple[Image, Mask]:
    """Return the background with a striped ellipse drawn over it, and the ellipse's mask."""
    y, x = np.mgrid[: background.shape[0], : background.shape[1]].astype(np.float32)
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    along = (x - centre[0]) * cosine + (y - centre[1]) * sine
    across = (y - centre[1]) * cosine - (x - centre[0]) * sine
    mask = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 < 1
    is_light = np.floor(along / (0.25 * radii[0])) % 2 == 0
    stripes = np.where(is_light[..., None], (230, 200, 40), (180, 40, 40))
    return np.where(mask[..., None], stripes, background).astype(np.uint8), mask


def make_clip(background: Image, frame: Callable[[Image, int], tuple[Image, Mask]], num_frames: int = 16) -> Clip:
    drawn = [frame(background, index) for index in range(num_frames)]
    return [image for image, _ in drawn], [mask for _, mask in drawn]


def moving(background: Image, index: int) -> tuple[Image, Mask]:
    return ellipse_on(background, (75 + 7.5 * index, 128), (60, 40), 0)


def spinning(background: Image, index: int) -> tuple[Image, Mask]:
    return ellipse_on(background, (128, 128), (75, 45), 20 * index)


def growing(background: Image, index: int) -> tuple[Image, Mask]:
    return ellipse_on(background, (128, 128), (30 * 1.05**index, 20 * 1.05**index), 10)


def leaving(background: Image, index: int) -> tuple[Image, Mask]:
    return ellipse_on(background, (128 + 15 * index, 128), (50, 40), 0)


@pytest.mark.parametrize("background", [field(), bricks()], ids=["field", "bricks"])
@pytest.mark.parametrize("motion", [moving, spinning, growing])
def test_every_mask_follows_the_subject(
    tracker: OpticalFlowTracker, background: Image, motion: Callable[[Image, int], tuple[Image, Mask]]
) -> None:
    frames, truth = make_clip(background, motion)
    masks = list(tracker.track(frames, truth[0]))
    overlaps = [intersection_over_union(mask, true) for mask, true in zip(masks, truth, strict=True)]
    assert overlaps[0] == 1.0
    assert np.mean(overlaps[1:]) > 0.95
    assert min(overlaps) > 0.9


def test_masks_come_back_at_the_size_of_odd_frames(tracker: OpticalFlowTracker) -> None:
    frames, truth = make_clip(
        field(541, 373), lambda image, index: ellipse_on(image, (150 + 8 * index, 270), (90, 130), 3 * index), 6
    )
    masks = list(tracker.track(frames, truth[0]))
    assert {mask.shape for mask in masks} == {(541, 373)}
    assert {mask.dtype for mask in masks} == {np.dtype(bool)}
    assert min(map(intersection_over_union, masks, truth)) > 0.95


@pytest.mark.parametrize("background", [field(), bricks()], ids=["field", "bricks"])
def test_an_emptied_scene_gives_empty_masks(tracker: OpticalFlowTracker, background: Image) -> None:
    frames, truth = make_clip(background, spinning, 3)
    masks = list(tracker.track([*frames, background, background, background], truth[0]))
    assert len(masks) == 6
    assert all(mask.any() for mask in masks[:3])
    assert not any(mask.any() for mask in masks[3:])


def test_a_subject_that_walks_out_of_the_frame_is_lost_for_good(tracker: OpticalFlowTracker) -> None:
    frames, truth = make_clip(field(), leaving, 14)
    frames.append(frames[0])
    masks = list(tracker.track(frames, truth[0]))
    assert intersection_over_union(masks[7], truth[7]) > 0.9
    assert not truth[13].any()
    assert not masks[13].any()
    assert not masks[14].any()


def test_an_empty_first_mask_gives_an_empty_mask_per_frame(tracker: OpticalFlowTracker) -> None:
    frames, truth = make_clip(field(), moving, 3)
    masks = list(tracker.track(frames, np.zeros_like(truth[0])))
    assert [np.count_nonzero(mask) for mask in masks] == [0, 0, 0]


def test_a_first_mask_over_the_whole_frame_leaves_nothing_to_tell_apart(tracker: OpticalFlowTracker) -> None:
    frames, _ = make_clip(bricks(), moving, 3)
    assert all(mask.all() for mask in tracker.track(frames, np.ones((SIDE, SIDE), dtype=bool)))


def test_each_frame_is_read_only_when_its_mask_is_asked_for(tracker: OpticalFlowTracker) -> None:
    frames, truth = make_clip(field(), moving, 4)
    read: list[int] = []

    def stream() -> Iterator[Image]:
        for index, frame in enumerate(frames):
            read.append(index)
            yield frame

    masks = tracker.track(stream(), truth[0])
    for index in range(4):
        next(masks)
        assert read == list(range(index + 1))


def test_two_clips_tracked_in_turns_do_not_disturb_each_other(tracker: OpticalFlowTracker) -> None:
    frames, truth = make_clip(bricks(), moving, 4)
    others, other_truth = make_clip(field(), growing, 4)
    alone = list(tracker.track(frames, truth[0]))
    in_turns = zip(tracker.track(frames, truth[0]), tracker.track(others, other_truth[0]), strict=True)
    assert all(np.array_equal(mask, expected) for (mask, _), expected in zip(in_turns, alone, strict=True))


def test_a_frame_of_another_size_is_refused_with_both_sizes(tracker: OpticalFlowTracker) -> None:
    masks = tracker.track([field(), field(100, 120)], np.ones((SIDE, SIDE), dtype=bool))
    next(masks)
    with pytest.raises(ValueError, match=r"frame 1 has size \(100, 120\).*\(256, 256\)"):
        next(masks)


@pytest.mark.usefixtures("keep_thread_count")
def test_masks_do_not_depend_on_threads_or_on_what_ran_before(tracker: OpticalFlowTracker) -> None:
    frames, truth = make_clip(bricks(), moving, 6)
    noise = np.random.default_rng(0).integers(-10, 10, (6, SIDE, SIDE, 3))
    noisy = [np.clip(frame + grain, 0, 255).astype(np.uint8) for frame, grain in zip(frames, noise, strict=True)]
    cv2.setNumThreads(1)
    first = b"".join(mask.tobytes() for mask in tracker.track(noisy, truth[0]))
    cv2.setRNGSeed(12345)
    cv2.setNumThreads(2)
    assert b"".join(mask.tobytes() for mask in tracker.track(noisy, truth[0])) == first
