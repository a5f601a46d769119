"""`Sam2Tracker` on tiny random checkpoints in the hub's layout, and the published sizes without their weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_sam2
from transformers import Sam2VideoConfig, Sam2VisionConfig
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_curation.trackers.sam2 import MODELS, Sam2Tracker


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sam2(tmp_path_factory.mktemp("sam2"))


@pytest.fixture
def tracker(checkpoint: Path) -> Sam2Tracker:
    return Sam2Tracker(str(checkpoint), device="cpu")


def clip(num_frames: int) -> tuple[Frames, Masks]:
    return render(sample_scene(1, 0), height=64, width=96, num_frames=num_frames)


def track(tracker: Sam2Tracker, frames: Frames, masks: Masks) -> Masks:
    return np.stack(list(tracker.track(frames, masks[0])))


def test_every_frame_gets_one_mask_and_the_first_keeps_its_own(tracker: Sam2Tracker) -> None:
    frames, masks = clip(5)
    tracked = track(tracker, frames, masks)
    assert tracked.shape == (5, 64, 96)
    assert tracked.dtype == np.bool_
    assert np.array_equal(tracked[0], masks[0])
    assert 0 < tracked[1:].mean() < 1
    assert np.array_equal(track(tracker, frames, masks), tracked)


def test_edgetam_is_told_by_its_config(tmp_path: Path) -> None:
    tracker = Sam2Tracker(str(save_sam2(tmp_path, "edgetam_video")), device="cpu")
    frames, masks = clip(5)
    tracked = track(tracker, frames, masks)
    assert type(tracker._model).__name__ == "EdgeTamVideoModel"
    assert tracked.shape == (5, 64, 96)
    assert np.array_equal(track(tracker, frames, masks), tracked)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs(checkpoint: Path, dtype: Any) -> None:
    frames, masks = clip(3)
    tracked = track(Sam2Tracker(str(checkpoint), device="cpu", dtype=dtype), frames, masks)
    assert tracked.shape == (3, 64, 96)
    assert tracked[1:].any()


def whole_clip_at_once(tracker: Sam2Tracker, frames: Frames, masks: Masks) -> Masks:
    """Return the masks as transformers' documentation makes them, with a session that holds the clip."""
    processor, model = tracker._processor, tracker._model
    session = processor.init_video_session(video=frames)
    processor.add_inputs_to_inference_session(session, frame_idx=0, obj_ids=1, input_masks=masks[0])
    outputs = model.propagate_in_video_iterator(session, start_frame_idx=0)
    return np.stack(
        [processor.post_process_masks([output.pred_masks], [frames.shape[1:3]])[0][0, 0].numpy() for output in outputs]
    )


def test_what_is_forgotten_was_out_of_the_models_reach(tracker: Sam2Tracker) -> None:
    frames, masks = clip(20)
    tracked = track(tracker, frames, masks)
    assert tracker.num_remembered == 15
    assert np.array_equal(whole_clip_at_once(tracker, frames, masks)[1:], tracked[1:])
    tracker.num_remembered = 5
    assert not np.array_equal(track(tracker, frames, masks), tracked)


def test_what_is_kept_does_not_grow_with_the_clip(tracker: Sam2Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, masks = clip(20)
    sessions = []
    start = tracker._processor.init_video_session
    monkeypatch.setattr(
        tracker._processor, "init_video_session", lambda **options: sessions.append(start(**options)) or sessions[-1]
    )
    for _ in tracker.track(frames, masks[0]):
        kept = sessions[0].output_dict_per_obj[0]
        assert not sessions[0].processed_frames
        assert list(kept["cond_frame_outputs"]) == [0]
        assert len(kept["non_cond_frame_outputs"]) <= 15
    assert list(kept["non_cond_frame_outputs"]) == list(range(5, 20))


def test_frames_are_taken_one_at_a_time(tracker: Sam2Tracker) -> None:
    frames, masks = clip(4)
    taken = 0

    def feed() -> Iterator[Any]:
        nonlocal taken
        for frame in frames:
            taken += 1
            yield frame

    for number, _ in enumerate(tracker.track(feed(), masks[0]), start=1):
        assert taken == number


def test_an_empty_first_mask_is_followed_by_empty_ones(tracker: Sam2Tracker) -> None:
    frames, masks = clip(3)
    assert not track(tracker, frames, np.zeros_like(masks)).any()


def test_a_frame_of_another_size_is_refused(tracker: Sam2Tracker) -> None:
    frames, masks = clip(2)
    with pytest.raises(ValueError, match=r"frame 1 has size \(64, 64\), the first mask \(64, 96\)"):
        list(tracker.track([frames[0], frames[1][:, :64]], masks[0]))


def test_the_name_changes_with_the_weights(checkpoint: Path, tracker: Sam2Tracker, tmp_path: Path) -> None:
    copy = tmp_path / checkpoint.name
    copy.mkdir()
    for file in checkpoint.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert Sam2Tracker(str(copy), device="cpu").name == tracker.name
    weights = load_file(copy / "model.safetensors")
    weights["no_memory_embedding"] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    changed = Sam2Tracker(str(copy), device="cpu").name
    assert changed != tracker.name
    assert changed.startswith(f"{checkpoint.name}@")


def test_a_missing_checkpoint_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere' cannot be loaded .*hf download facebook/sam2.1-hiera-base-plus"):
        Sam2Tracker(str(tmp_path / "nowhere"), device="cpu")


def test_another_kind_of_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    with pytest.raises(ValueError, match="its model_type is 'sam2', not one of sam2_video, edgetam_video"):
        Sam2Tracker(str(tmp_path), device="cpu")


def test_a_checkpoint_that_leaves_weights_random_is_refused(tmp_path: Path) -> None:
    folder = save_sam2(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["no_memory_embedding"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="1 weights are missing or of another shape, the first no_memory_embedding"):
        Sam2Tracker(str(folder), device="cpu")


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    folder = save_sam2(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot be loaded"):
        Sam2Tracker(str(folder), device="cpu")


def test_an_unknown_dtype_or_device_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="unknown dtype 'int8'; give one of float32, float16, bfloat16"):
        Sam2Tracker(str(checkpoint), device="cpu", dtype="int8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        Sam2Tracker(str(checkpoint), device="gpu")


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [
        ({}, 38.9),
        (
            {
                "hidden_size": 112,
                "num_attention_heads": 2,
                "embed_dim_per_stage": [112, 224, 448, 896],
                "num_attention_heads_per_stage": [2, 4, 8, 16],
                "blocks_per_stage": [2, 3, 16, 3],
                "global_attention_blocks": [12, 16, 20],
                "window_positional_embedding_background_size": [14, 14],
            },
            80.8,
        ),
    ],
    ids=["tiny", "base-plus"],
)
def test_full_size_has_the_published_number_of_parameters(backbone: dict[str, Any], millions: float) -> None:
    """The table of checkpoints in facebookresearch/sam2's README: tiny 38.9 M, base plus 80.8 M."""
    encoder = Sam2HieraDetConfig(**backbone)
    vision = Sam2VisionConfig(backbone_config=encoder, backbone_channel_list=encoder.embed_dim_per_stage[::-1])
    config = Sam2VideoConfig(vision_config=vision, prompt_encoder_config={}, mask_decoder_config={})
    with torch.device("meta"):
        model = MODELS["sam2_video"](config)
    assert sum(weight.numel() for weight in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
