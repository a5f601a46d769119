"""`DeAotTracker` on random weights of the smallest model, and the published sizes."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import save_deaot

pytest.importorskip("aot", reason="deaotpy is not installed: pip install --no-deps deaotpy==1.11.0")

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_curation.trackers.deaot import DeAotTracker, new_model


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_deaot(tmp_path_factory.mktemp("deaot") / "DeAOTT_random.safetensors")


def clip(num_frames: int) -> tuple[Frames, Masks]:
    return render(sample_scene(1, 0), height=64, width=96, num_frames=num_frames)


def track(path: Path, frames: Frames, masks: Masks, **settings: int) -> Masks:
    return np.stack(list(DeAotTracker("deaott", path, device="cpu", **settings).track(frames, masks[0])))


def test_every_frame_gets_one_mask_and_the_first_keeps_its_own(weights_file: Path) -> None:
    frames, masks = clip(5)
    tracked = track(weights_file, frames, masks)
    assert tracked.shape == (5, 64, 96)
    assert tracked.dtype == np.bool_
    assert np.array_equal(tracked[0], masks[0])
    assert 0 < tracked[1:].mean() < 1
    assert np.array_equal(track(weights_file, frames, masks), tracked)


def test_one_tracker_follows_clips_of_several_sizes(weights_file: Path) -> None:
    tracker = DeAotTracker("deaott", weights_file, device="cpu")
    frames, masks = clip(4)
    small_frames, small_masks = frames[:, :40, :], masks[:, :40, :]
    alone = [np.stack(list(tracker.track(*pair))) for pair in ((frames, masks[0]), (small_frames, small_masks[0]))]
    assert alone[1].shape == (4, 40, 96)
    assert np.array_equal(np.stack(list(tracker.track(frames, masks[0]))), alone[0])


def test_the_published_form_of_weights_is_read(weights_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "DeAOTT_PRE_YTB_DAV.pth"
    names = {f"module.{name}": tensor for name, tensor in load_file(weights_file).items()}
    torch.save({"state_dict": names, "optimizer": {"step": 1}}, path)
    frames, masks = clip(3)
    assert np.array_equal(track(path, frames, masks), track(weights_file, frames, masks))
    assert DeAotTracker("deaott", path, device="cpu").name.startswith("deaott DeAOTT_PRE_YTB_DAV.pth@")


def test_the_long_term_memory_is_cut_to_its_newest_frames_and_its_first(weights_file: Path) -> None:
    frames, masks = clip(10)
    first_alone = track(weights_file, frames, masks)
    growing = track(weights_file, frames, masks, long_term_gap_frames=2, max_long_term_frames=100)
    assert not np.array_equal(growing, first_alone)
    cut = track(weights_file, frames, masks, long_term_gap_frames=2, max_long_term_frames=1)
    assert np.array_equal(cut, first_alone)


@pytest.mark.parametrize("size", [(64, 96), (480, 854), (720, 1280), (1280, 720), (65, 97)])
def test_frames_are_scaled_as_the_package_scales_them(weights_file: Path, size: tuple[int, int]) -> None:
    num_threads = cv2.getNumThreads()
    transforms = pytest.importorskip("aot.dataloaders.video_transforms")
    cv2.setNumThreads(num_threads)  # the import sets it to one for the whole process
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    samples = transforms.MultiRestrictSize(max_long_edge=1040, multi_scale=[1])({"current_img": frame})
    expected = transforms.MultiToTensor()(samples)[0]["current_img"][None].float()
    pixels = DeAotTracker("deaott", weights_file, device="cpu")._pixels(frame)
    assert pixels.shape == expected.shape
    assert torch.allclose(pixels, expected, atol=1e-5)


def test_large_frames_are_shrunk_and_their_masks_are_not(weights_file: Path) -> None:
    frames, masks = clip(3)
    tracked = track(weights_file, frames, masks, max_long_side_px=48)
    assert tracked.shape == (3, 64, 96)


def test_an_empty_first_mask_is_followed_by_empty_ones(weights_file: Path) -> None:
    frames, masks = clip(3)
    assert not track(weights_file, frames, np.zeros_like(masks)).any()


def test_a_frame_of_another_size_is_refused(weights_file: Path) -> None:
    frames, masks = clip(2)
    tracker = DeAotTracker("deaott", weights_file, device="cpu")
    with pytest.raises(ValueError, match=r"frame 1 has size \(64, 64\), the first mask \(64, 96\)"):
        list(tracker.track([frames[0], frames[1][:, :64]], masks[0]))


def test_missing_weights_say_where_they_are_published(tmp_path: Path) -> None:
    path = tmp_path / "R50_DeAOTL_PRE_YTB_DAV.pth"
    with pytest.raises(ValueError, match=r"cannot be loaded .*R50_DeAOTL_PRE_YTB_DAV.pth .*aot-benchmark.*MODEL_ZOO"):
        DeAotTracker("r50_deaotl", path, device="cpu")


def test_an_unknown_architecture_is_refused(weights_file: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown architecture 'r50'; one of deaott, .*r50_deaotl"):
        DeAotTracker("r50", weights_file, device="cpu")


def test_weights_of_another_architecture_are_refused(weights_file: Path) -> None:
    with pytest.raises(ValueError, match="cannot be loaded"):
        DeAotTracker("deaots", weights_file, device="cpu")


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("the file ran code",))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "R50_DeAOTL_PRE_YTB_DAV.pth"
    torch.save({"state_dict": Harmful()}, path, pickle_module=pickle)
    with pytest.raises(ValueError, match="it holds more than tensors"):
        DeAotTracker("r50_deaotl", path, device="cpu")


def test_a_memory_without_frames_is_refused(weights_file: Path) -> None:
    with pytest.raises(ValueError, match="must be at least 1 frame"):
        DeAotTracker("deaott", weights_file, device="cpu", max_long_term_frames=0)


@pytest.mark.parametrize(
    ("architecture", "millions"),
    [("deaott", 7.2), ("deaots", 10.2), ("deaotb", 13.2), ("deaotl", 13.2), ("r50_deaotl", 19.8)],
)
def test_full_size_has_the_published_number_of_parameters(architecture: str, millions: float) -> None:
    """The table of pre-trained models in yoxu515/aot-benchmark's MODEL_ZOO.md."""
    with torch.device("meta"):
        model = new_model(architecture)
    assert sum(weight.numel() for weight in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_swin_has_the_published_number_of_parameters() -> None:
    """MODEL_ZOO.md again; this one reads values while it is built, which the meta device has not."""
    model = new_model("swinb_deaotl")
    assert sum(weight.numel() for weight in model.parameters()) / 1e6 == pytest.approx(70.3, abs=0.1)
