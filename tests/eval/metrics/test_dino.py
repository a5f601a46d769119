import numpy as np
import pytest

from magdiff_eval.metrics.dino import subject_fidelity


def test_it_is_the_mean_cosine_over_frames_and_references() -> None:
    frames, references = np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([[1.0, 0.0], [1.0, 1.0], [0.0, -1.0]])
    half = 1 / np.sqrt(2)
    assert subject_fidelity(frames, references) == pytest.approx((1 + half + 0 + 0 + half - 1) / 6)


def test_an_embedding_without_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="no direction"):
        subject_fidelity(np.zeros((1, 2)), np.ones((1, 2)))
