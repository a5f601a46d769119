"""`Sam3Masker` on tiny random checkpoints in the hub's layout, and the published size without its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import save_sam3
from transformers import Sam3VideoConfig, Sam3VideoModel
from transformers.models.sam3_video.modeling_sam3_video import fill_holes_in_mask_scores, nms_masks

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_curation.sam3 import MaskOperations, Sam3Masker
from magdiff_curation.toyworld.scene import render, sample_scene

AT_ONCE = {"hotstart_delay": 0, "hotstart_unmatch_thresh": 0, "hotstart_dup_thresh": 0}
"""Report objects as they appear, and never take one back."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    low = {"score_threshold_detection": 0.1, "new_det_thresh": 0.1}
    return save_sam3(tmp_path_factory.mktemp("sam3"), **low, **AT_ONCE)


@pytest.fixture(scope="module")
def masker(checkpoint: Path) -> Sam3Masker:
    return Sam3Masker(str(checkpoint), device="cpu")


def clip(num_frames: int) -> Frames:
    return render(sample_scene(1, 0), height=64, width=96, num_frames=num_frames)[0]


def whole_clip_at_once(masker: Sam3Masker, frames: Frames, label: str) -> dict[int, Masks]:
    """Return the masks as transformers' documentation makes them, with a session that holds the clip."""
    session = masker._processor.init_video_session(video=frames)
    masker._processor.add_text_prompt(session, label)
    masks: dict[int, Masks] = {}
    for output in masker._model.propagate_in_video_iterator(session):
        found = masker._processor.postprocess_outputs(session, output)
        for object_id, mask in zip(found["object_ids"].tolist(), found["masks"].numpy(), strict=True):
            masks.setdefault(object_id, np.zeros(frames.shape[:3], dtype=np.bool_))[output.frame_idx] = mask
    return masks


def test_every_object_has_a_mask_per_frame_and_a_score(masker: Sam3Masker) -> None:
    frames = clip(5)
    result = masker.follow(frames, "cat")
    assert list(result.masks) == list(result.scores) == [0]
    assert result.masks[0].shape == (5, 64, 96)
    assert result.masks[0].dtype == np.bool_
    assert result.masks[0].any(axis=(1, 2)).all()
    assert 0.1 < result.scores[0] < 1
    again = masker.follow(frames, "cat")
    assert again.scores == result.scores
    assert np.array_equal(again.masks[0], result.masks[0])


def test_the_label_matters(masker: Sam3Masker) -> None:
    frames = clip(2)
    assert masker.follow(frames, "cat").scores != masker.follow(frames, "red car").scores


def test_what_is_forgotten_was_out_of_the_models_reach(masker: Sam3Masker, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = clip(20)
    result, expected = masker.follow(frames, "cat"), whole_clip_at_once(masker, frames, "cat")
    assert list(result.masks) == sorted(expected)
    assert all(np.array_equal(result.masks[key], expected[key]) for key in expected)
    monkeypatch.setattr(masker, "num_remembered", 4)
    assert not np.array_equal(masker.follow(frames, "cat").masks[0], result.masks[0])


def test_what_is_kept_does_not_grow_with_the_clip(masker: Sam3Masker, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = []
    start = masker._processor.init_video_session
    monkeypatch.setattr(
        masker._processor, "init_video_session", lambda **options: sessions.append(start(**options)) or sessions[-1]
    )
    masker.follow(clip(20), "cat")
    kept = sessions[0].output_dict_per_obj[0]
    assert list(kept["cond_frame_outputs"]) == [0]
    assert list(kept["non_cond_frame_outputs"]) == list(range(5, 20))


def test_objects_that_the_detector_does_not_confirm_are_taken_back(tmp_path: Path) -> None:
    folder = save_sam3(tmp_path, score_threshold_detection=0.1, new_det_thresh=0.1, assoc_iou_thresh=0.99)
    frames = clip(12)
    masker = Sam3Masker(str(folder), device="cpu")
    result, expected = masker.follow(frames, "cat"), whole_clip_at_once(masker, frames, "cat")
    assert 0 not in result.masks
    assert result.masks
    assert list(result.masks) == sorted(expected)
    assert all(np.array_equal(result.masks[key], expected[key]) for key in expected)
    assert all(0 < score < 1 for score in result.scores.values())


def test_a_clip_without_the_subject_has_no_objects(tmp_path: Path) -> None:
    masker = Sam3Masker(str(save_sam3(tmp_path)), device="cpu")
    result = masker.follow(clip(3), "cat")
    assert result.masks == {}
    assert result.scores == {}


def test_half_precision_runs(checkpoint: Path) -> None:
    result = Sam3Masker(str(checkpoint), device="cpu", dtype="bfloat16").follow(clip(3), "cat")
    assert result.masks[0].any()


@pytest.mark.parametrize("label", ["", "  ", "a" * 31])
def test_labels_that_the_model_cannot_read_are_refused(masker: Sam3Masker, label: str) -> None:
    with pytest.raises(ValueError, match="SAM 3 needs a label of 1 to 32 tokens"):
        masker.follow(clip(1), label)


def test_a_clip_without_frames_is_refused(masker: Sam3Masker) -> None:
    with pytest.raises(ValueError, match=r"SAM 3 needs frames \[F, H, W, 3\], got shape \(0, 64, 96, 3\)"):
        masker.follow(clip(1)[:0], "cat")


def test_a_missing_checkpoint_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere' cannot be loaded .*access .*hf download facebook/sam3"):
        Sam3Masker(str(tmp_path / "nowhere"), device="cpu")


def test_of_detections_that_overlap_the_best_stays(masker: Sam3Masker) -> None:
    assert masker  # which puts `MaskOperations` in the place of the hub's code
    masks = torch.full((4, 8, 8), -1.0)
    masks[0, :4], masks[1, :5], masks[2, 6:], masks[3, 2:7] = 1, 1, 1, 1
    scores = torch.tensor([0.6, 0.9, 0.8, 0.05])
    kept = nms_masks(pred_probs=scores, pred_masks=masks, prob_threshold=0.1, iou_threshold=0.5)
    assert kept.tolist() == [False, True, True, False]
    kept = nms_masks(pred_probs=scores, pred_masks=masks, prob_threshold=0.0, iou_threshold=0.9)
    assert kept.tolist() == [True, True, True, True]


def test_small_holes_are_filled_and_specks_removed(masker: Sam3Masker) -> None:
    assert masker
    scores = torch.full((1, 1, 20, 20), -1.0)
    scores[0, 0, 2:14, 2:14] = 1
    scores[0, 0, 5:7, 5:7] = -1
    scores[0, 0, 17, 17] = scores[0, 0, 18, 18] = 1
    clean = fill_holes_in_mask_scores(scores, max_area=4)[0, 0] > 0
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[2:14, 2:14] = True
    assert torch.equal(clean, expected)


def test_pieces_are_joined_at_corners_and_counted() -> None:
    masks = torch.zeros(2, 1, 4, 4)
    masks[0, 0, 0, 0] = masks[0, 0, 1, 1] = masks[0, 0, 3, 3] = 1
    labels, counts = MaskOperations.cc_2d(masks)
    assert labels[0, 0, 0, 0] == labels[0, 0, 1, 1] != labels[0, 0, 3, 3]
    assert counts[0, 0].diagonal().tolist() == [2, 2, 13, 1]
    assert not labels[1].any()


def test_full_size_has_the_published_number_of_parameters() -> None:
    """The README of facebookresearch/sam3 counts 848 M, the hub 0.9 B: here without and with the tracker."""
    with torch.device("meta"):
        model = Sam3VideoModel(Sam3VideoConfig())
    millions = {
        name: sum(weight.numel() for weight in part.parameters()) / 1e6 for name, part in model.named_children()
    }
    assert millions["detector_model"] + millions["tracker_neck"] == pytest.approx(848, abs=0.5)
    assert sum(millions.values()) == pytest.approx(860, abs=0.5)
