import numpy as np
import pytest

from magdiff_eval.metrics.regions import error_inside, mean_errors, squared_errors


def painted(source: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The source with every frame's subject in its mean colour."""
    result = source.astype(np.float64)
    for image, mask in zip(result, masks, strict=True):
        image[mask] = image[mask].mean(axis=0)
    return result


def test_the_error_counts_the_region_alone_in_units_of_minus_one_to_one() -> None:
    source = np.zeros((1, 2, 2, 3), np.uint8)
    video = source.copy()
    video[0, 0, 0], video[0, 1, 1] = 255, 255
    masks = np.array([[[True, True], [False, False]]])
    assert error_inside(video, source, masks) == pytest.approx(4 / 2)  # one of two pixels is off by 2


def test_the_flat_error_is_the_variance_inside_each_frame() -> None:
    source = np.zeros((2, 1, 2, 3), np.uint8)
    source[0, 0, 1] = 255
    masks = np.ones((2, 1, 2), bool)
    rows = np.array([squared_errors(frame, frame, mask) for frame, mask in zip(source, masks, strict=True)])
    assert mean_errors(rows) == {"error-inside": 0, "error-flat": pytest.approx((1 + 0) / 2)}


def test_shapes_that_do_not_fit_and_empty_regions_are_refused() -> None:
    video = np.zeros((1, 2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="do not fit"):
        error_inside(video, video[:, :1], np.ones((1, 2, 2), bool))
    with pytest.raises(ValueError, match="empty"):
        error_inside(video, video, np.zeros((1, 2, 2), bool))


def test_a_videos_errors_inside_and_outside_are_means_over_all_its_values() -> None:
    rng = np.random.default_rng(1)
    video, source = rng.integers(0, 256, (2, 3, 5, 7, 3)).astype(np.uint8)
    masks = rng.random((3, 5, 7)) < 0.3
    rows = np.array([squared_errors(*each) for each in zip(video, source, masks, strict=True)])
    found = mean_errors(rows)
    assert found == {
        "error-inside": pytest.approx(error_inside(video, source, masks)),
        "error-flat": pytest.approx(error_inside(painted(source, masks), source, masks)),
        "error-outside": pytest.approx(error_inside(video, source, ~masks)),
    }
    whole = np.array([squared_errors(video[0], source[0], np.ones((5, 7), bool))])
    assert list(mean_errors(whole)) == ["error-inside", "error-flat"]
    nothing = np.array([squared_errors(video[0], source[0], np.zeros((5, 7), bool))])
    assert list(mean_errors(nothing)) == ["error-outside"]
