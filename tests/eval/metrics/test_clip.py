import numpy as np
import pytest

from magdiff_eval.metrics.clip import frame_consistency, textual_alignment


def test_frame_consistency_is_the_mean_cosine_of_all_pairs() -> None:
    embeddings = np.array([[2.0, 0.0], [0.0, 5.0], [3.0, 3.0]])
    assert frame_consistency(embeddings) == pytest.approx((0 + np.sqrt(0.5) + np.sqrt(0.5)) / 3)
    assert frame_consistency(np.ones((4, 3), np.float32)) == pytest.approx(1)


def test_textual_alignment_is_the_mean_cosine_with_the_text() -> None:
    assert textual_alignment(np.array([[1.0, 0], [0, 1.0]]), np.array([7.0, 0])) == pytest.approx(0.5)


def test_one_frame_and_vectors_without_direction_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two frames"):
        frame_consistency(np.ones((1, 3)))
    with pytest.raises(ValueError, match="zero or not finite"):
        frame_consistency(np.array([[1.0, 0], [0, 0]]))
    with pytest.raises(ValueError, match="zero or not finite"):
        textual_alignment(np.array([[np.nan, 0]]), np.array([1.0, 0]))
