"""`GrabCutSegmenter` on drawn images whose true mask is known."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from magdiff_curation.clips.masks import Box, Image, Mask, bounding_box, intersection_over_union
from magdiff_curation.segment import GrabCutSegmenter, GrabCutSettings


@pytest.fixture
def segmenter() -> GrabCutSegmenter:
    return GrabCutSegmenter(GrabCutSettings())


@pytest.fixture
def keep_thread_count() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def draw(height: int, width: int, centre: tuple[float, float]) -> tuple[Image, Mask]:
    """Return a green field [H, W, 3] with a two-coloured ellipse around `centre` (x, y), and the ellipse's mask."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack((40 + 40 * x / width, 120 + 60 * y / height, 60 + 0 * x), axis=-1).astype(np.uint8)
    mask = ((x - centre[0]) / (0.2 * width)) ** 2 + ((y - centre[1]) / (0.25 * height)) ** 2 < 1
    image[mask & (x < centre[0])] = (220, 180, 40)
    image[mask & (x >= centre[0])] = (170, 30, 50)
    return image, mask


def box_around(mask: Mask, slack_px: float = 4.0) -> Box:
    box = bounding_box(mask)
    assert box is not None
    return box[0] - slack_px, box[1] - slack_px, box[2] + slack_px, box[3] + slack_px


@pytest.mark.parametrize("size", [(512, 910), (301, 203), (97, 131), (64, 64)])
def test_a_box_around_a_subject_gives_its_mask_at_full_size(segmenter: GrabCutSegmenter, size: tuple[int, int]) -> None:
    image, truth = draw(*size, centre=(0.45 * size[1], 0.5 * size[0]))
    mask = segmenter.segment(image, box_around(truth))
    assert mask.dtype == np.bool_
    assert mask.shape == size
    assert intersection_over_union(mask, truth) > 0.95


def test_only_the_part_of_a_box_inside_the_frame_counts(segmenter: GrabCutSegmenter) -> None:
    image, truth = draw(300, 400, centre=(30, 40))
    x0, y0, x1, y1 = box_around(truth)
    outside = (x0 - 80, y0 - 25, x1, y1)
    assert intersection_over_union(segmenter.segment(image, outside), truth) > 0.95
    assert np.array_equal(segmenter.segment(image, outside), segmenter.segment(image, (0, 0, x1, y1)))


def test_a_second_thing_outside_the_box_stays_out(segmenter: GrabCutSegmenter) -> None:
    image, truth = draw(300, 400, centre=(120, 150))
    image[120:180, 320:380] = (220, 180, 40)
    mask = segmenter.segment(image, box_around(truth))
    assert not mask[:, 260:].any()
    assert intersection_over_union(mask, truth) > 0.95


def test_a_box_over_the_whole_frame_is_its_own_mask(segmenter: GrabCutSegmenter) -> None:
    image, _ = draw(90, 120, centre=(60, 45))
    assert segmenter.segment(image, (-5, -5, 500, 500)).all()


def test_a_box_over_one_flat_colour_gives_an_empty_mask(segmenter: GrabCutSegmenter) -> None:
    image = np.full((100, 140, 3), 77, dtype=np.uint8)
    assert not segmenter.segment(image, (40, 30, 90, 70)).any()


@pytest.mark.parametrize(
    "box",
    [
        (10.0, 10.0, 10.0, 40.0),
        (40.0, 10.0, 20.0, 30.0),
        (10.0, 30.0, 40.0, 30.0),
        (float("nan"), 10.0, 40.0, 40.0),
        (10.0, 10.0, float("inf"), 40.0),
        (-60.0, 10.0, -20.0, 40.0),
        (120.0, 10.0, 160.0, 40.0),
    ],
)
def test_a_box_without_area_in_the_frame_is_refused_with_its_value(segmenter: GrabCutSegmenter, box: Box) -> None:
    with pytest.raises(ValueError, match="box") as raised:
        segmenter.segment(np.zeros((90, 120, 3), dtype=np.uint8), box)
    assert str(box) in str(raised.value)


@pytest.mark.usefixtures("keep_thread_count")
def test_masks_do_not_depend_on_threads_or_on_what_ran_before(segmenter: GrabCutSegmenter) -> None:
    image, truth = draw(301, 403, centre=(200, 150))
    noise = np.random.default_rng(0).integers(-40, 40, image.shape)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    cv2.setNumThreads(1)
    first = segmenter.segment(image, box_around(truth))
    cv2.setRNGSeed(12345)
    cv2.setNumThreads(2)
    assert first.any()
    assert segmenter.segment(image, box_around(truth)).tobytes() == first.tobytes()
