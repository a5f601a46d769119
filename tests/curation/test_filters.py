import numpy as np
import pytest

from magdiff_curation.clips.masks import Masks
from magdiff_curation.clips.windows import middle_square, sample_stride
from magdiff_curation.config import FilterSettings, TrainingViewSettings
from magdiff_curation.filters import check_area, check_meaning, check_short_side, check_training_view, share_of_samples
from magdiff_curation.reasons import ClipRejected, Reason, Status


def reason(check, *arguments) -> Reason | None:
    try:
        check(*arguments)
    except ClipRejected as rejection:
        assert rejection.status == Status.DROPPED
        return rejection.reason
    return None


@pytest.mark.parametrize(("size", "expected"), [((512, 2000), None), ((1920, 511), Reason.SHORT_SIDE_TOO_SMALL)])
def test_short_sides_under_the_limit_are_dropped(size: tuple[int, int], expected: Reason | None) -> None:
    assert reason(check_short_side, *size, FilterSettings()) == expected


@pytest.mark.parametrize(
    ("frames", "ratios", "expected"),
    [
        ("mean", [0.05, 0.05], None),
        ("mean", [0.6, 0.6], None),
        ("mean", [0.01, 0.2], None),
        ("first", [0.01, 0.2], Reason.AREA_TOO_SMALL),
        ("every", [0.2, 0.01], Reason.AREA_TOO_SMALL),
        ("every", [0.2, 0.61], Reason.AREA_TOO_LARGE),
        ("mean", [0.7, 0.7], Reason.AREA_TOO_LARGE),
    ],
)
def test_the_area_rule_reads_the_frames_it_is_told_to(
    frames: str, ratios: list[float], expected: Reason | None
) -> None:
    assert reason(check_area, ratios, FilterSettings(area_frames=frames)) == expected


@pytest.mark.parametrize("label", ["dog", "big dog", "red car", "собака"])
def test_labels_that_name_something_pass(label: str) -> None:
    assert reason(check_meaning, label, FilterSettings()) is None


@pytest.mark.parametrize("label", ["background", "it", "", "   ", "42", "!!!", "🐶", "the picture"[4:], "red"])
def test_labels_that_name_nothing_are_dropped(label: str) -> None:
    assert reason(check_meaning, label, FilterSettings()) == Reason.LABEL_WITHOUT_MEANING


def test_no_label_has_its_own_reason() -> None:
    assert reason(check_meaning, None, FilterSettings()) == Reason.LABEL_MISSING


def wide_clip(lefts: list[int], side: int = 20) -> Masks:
    """Return masks bool [F, 64, 160] of a square whose left edge is known; the middle square is columns 48 to 112."""
    masks = np.zeros((len(lefts), 64, 160), np.bool_)
    for mask, left in zip(masks, lefts, strict=True):
        mask[20 : 20 + side, max(0, left) : max(0, left + side)] = True
    return masks


def view(**settings: object) -> FilterSettings:
    return FilterSettings(training_view=TrainingViewSettings(**settings))


def test_the_middle_square_is_cut_from_either_shape() -> None:
    pictures = np.arange(2 * 4 * 10).reshape(2, 4, 10)
    assert np.array_equal(middle_square(pictures), pictures[:, :, 3:7])
    assert np.array_equal(middle_square(pictures.swapaxes(1, 2)), pictures.swapaxes(1, 2)[:, 3:7])


@pytest.mark.parametrize(
    ("num_frames", "wanted", "stride", "expected"),
    [(29, 8, 4, 4), (28, 8, 4, 3), (8, 8, 4, 1), (100, 8, 4, 4), (5, 1, 4, 4), (16, 8, 2, 2)],
)
def test_the_stride_shrinks_where_the_clip_is_too_short_for_it(
    num_frames: int, wanted: int, stride: int, expected: int
) -> None:
    assert sample_stride(num_frames, wanted, stride) == expected


def test_a_clip_with_fewer_frames_than_a_sample_has_no_stride() -> None:
    with pytest.raises(ValueError, match="7 frames are fewer than the 8 of a sample"):
        sample_stride(7, 8, 4)


def test_a_subject_at_the_left_edge_of_a_wide_clip_is_outside_the_training_view() -> None:
    masks = wide_clip([10] * 40)
    assert reason(check_area, [mask.mean() for mask in masks], FilterSettings(min_area_ratio=0.03)) is None
    assert share_of_samples(masks, FilterSettings()) == 0
    assert reason(check_training_view, 0.0, FilterSettings()) == Reason.OUTSIDE_TRAINING_VIEW


def test_a_subject_in_the_middle_passes_by_its_share_of_the_middle_square() -> None:
    masks = wide_clip([70] * 40)
    assert share_of_samples(masks, FilterSettings()) == 1
    assert reason(check_training_view, 1.0, FilterSettings()) is None
    # 400 of 64 x 64 pixels are 0.098, of 64 x 160 only 0.039
    assert share_of_samples(masks, FilterSettings(min_area_ratio=0.097)) == 1
    assert share_of_samples(masks, FilterSettings(min_area_ratio=0.099)) == 0
    assert share_of_samples(masks, FilterSettings(max_area_ratio=0.097)) == 0


def test_a_subject_that_walks_out_of_the_view_counts_by_the_samples_that_see_it() -> None:
    masks = wide_clip([70] * 20 + [10] * 20)  # 40 frames, 12 samples of frames n, n + 4, ... n + 28
    settings = view(min_share=0.5)
    # By hand: samples from 0 to 3 have 5 frames with the subject, from 4 to 7 have 4, from 8 to 11 have 3.
    assert share_of_samples(masks, FilterSettings(min_area_ratio=0.06)) == pytest.approx(4 / 12)
    assert share_of_samples(masks, FilterSettings(min_area_ratio=0.045)) == pytest.approx(8 / 12)
    assert share_of_samples(masks, FilterSettings(min_area_ratio=0.03)) == 1
    assert reason(check_training_view, 4 / 12, settings) == Reason.OUTSIDE_TRAINING_VIEW
    assert reason(check_training_view, 8 / 12, settings) is None
    assert reason(check_training_view, 0.5, settings) is None


def test_a_sample_counts_only_where_its_first_frame_shows_the_subject() -> None:
    masks = wide_clip([10] * 20 + [70] * 20)
    assert share_of_samples(masks, FilterSettings(min_area_ratio=0.0, max_area_ratio=1.0)) == 0
    masks[2:4] = wide_clip([70, 70])
    assert share_of_samples(masks, FilterSettings(min_area_ratio=0.0, max_area_ratio=1.0)) == pytest.approx(2 / 12)


@pytest.mark.parametrize(("frames", "expected"), [("mean", 1.0), ("first", 1.0), ("every", 0.5)])
def test_the_area_rule_reads_the_same_frames_in_the_view(frames: str, expected: float) -> None:
    masks = wide_clip([70] * 16)  # two samples: the even frames, the odd frames
    masks[14] = False
    assert share_of_samples(masks, FilterSettings(area_frames=frames)) == expected


def test_short_clips_have_one_sample_or_none() -> None:
    assert share_of_samples(wide_clip([70] * 8), FilterSettings()) == 1
    assert share_of_samples(wide_clip([70] * 7), FilterSettings()) == 0
    assert share_of_samples(wide_clip([70] * 7), view(num_frames=7)) == 1
    assert share_of_samples(wide_clip([70] * 3 + [10]), view(num_frames=1)) == 0.75


def test_the_reason_names_the_share_and_the_limit() -> None:
    with pytest.raises(ClipRejected, match=r"in 0.333 of the samples of 8 frames .* under 0.5"):
        check_training_view(1 / 3, FilterSettings())
    check_training_view(0.0, view(min_share=0.0))


def test_how_long_a_label_may_be_is_a_setting() -> None:
    label = "a man in a dark blue suit"
    assert reason(check_meaning, label, FilterSettings()) is None
    assert reason(check_meaning, label, FilterSettings(max_label_words=4)) == Reason.LABEL_WITHOUT_MEANING
    assert reason(check_meaning, label, FilterSettings(max_label_characters=10)) == Reason.LABEL_WITHOUT_MEANING
