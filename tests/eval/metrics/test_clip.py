import numpy as np
import pytest
import torch

from magdiff_eval.metrics.clip import (
    FATEZERO,
    LOVEU,
    PROTOCOLS,
    frame_accuracy,
    frame_consistency,
    textual_alignment,
)


def test_frame_consistency_is_the_mean_cosine_of_all_pairs() -> None:
    embeddings = np.array([[2.0, 0.0], [0.0, 5.0], [3.0, 3.0]])
    assert frame_consistency(embeddings) == pytest.approx((0 + np.sqrt(0.5) + np.sqrt(0.5)) / 3)
    assert frame_consistency(np.ones((4, 3), np.float32)) == pytest.approx(1)


def test_consecutive_pairs_leave_out_frames_that_are_further_apart() -> None:
    embeddings = np.array([[2.0, 0.0], [3.0, 3.0], [0.0, 5.0], [0.0, -1.0]])
    assert frame_consistency(embeddings, "consecutive") == pytest.approx((2 * np.sqrt(0.5) - 1) / 3)
    assert frame_consistency(embeddings[:2], "consecutive") == pytest.approx(frame_consistency(embeddings[:2]))


@pytest.mark.parametrize("pairs", ["all", "consecutive"])
def test_frame_consistency_is_what_torch_says_of_the_same_pairs(pairs: str) -> None:
    embeddings = np.random.default_rng(0).standard_normal((8, 32)).astype(np.float32)
    frames = torch.from_numpy(embeddings)
    chosen = [(i, j) for i in range(8) for j in range(8) if (i != j if pairs == "all" else j == i + 1)]
    expected = torch.stack([torch.cosine_similarity(frames[i], frames[j], dim=0) for i, j in chosen]).mean()
    assert frame_consistency(embeddings, pairs) == pytest.approx(float(expected), abs=1e-6)


def test_textual_alignment_is_the_mean_cosine_with_the_text() -> None:
    assert textual_alignment(np.array([[1.0, 0], [0, 1.0]]), np.array([7.0, 0])) == pytest.approx(0.5)


def test_the_published_protocols_differ_in_clip_pairs_and_size() -> None:
    assert set(PROTOCOLS) == {"loveu", "tune-a-video", "fatezero"}
    assert (LOVEU.clip, LOVEU.pairs, LOVEU.resize_px, LOVEU.text_scale) == ("ViT-L/14", "all", 480, 100)
    assert (FATEZERO.clip, FATEZERO.pairs, FATEZERO.text_scale) == ("ViT-B/32", "consecutive", None)
    assert PROTOCOLS["tune-a-video"].clip is None


def test_one_frame_other_pairs_and_vectors_without_direction_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two frames"):
        frame_consistency(np.ones((1, 3)))
    with pytest.raises(ValueError, match="pairs is 'nearest': give 'all' or 'consecutive'"):
        frame_consistency(np.ones((2, 3)), "nearest")
    with pytest.raises(ValueError, match="zero or not finite"):
        frame_consistency(np.array([[1.0, 0], [0, 0]]))
    with pytest.raises(ValueError, match="zero or not finite"):
        textual_alignment(np.array([[np.nan, 0]]), np.array([1.0, 0]))


def test_fatezeros_text_score_is_the_share_of_frames_no_nearer_to_the_sources_prompt() -> None:
    frames = np.array([[3.0, 1.0], [1.0, 3.0], [1.0, 1.0], [2.0, 0.0]])
    assert frame_accuracy(frames, np.array([1.0, 0.0]), np.array([0.0, 5.0])) == 0.75
