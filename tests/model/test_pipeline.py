from pathlib import Path

import numpy as np
import pytest
import torch
from tests_support import ZOO

import magdiff_model.pipeline as pipeline_module
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_model.checkpoints import load_pipeline, save_pipeline
from magdiff_model.data.framing import framed_frames, framed_masks
from magdiff_model.encoding import decode_latents, encode_frames, encode_pyramid
from magdiff_model.train import AlignmentSettings, TrainSettings, with_alignments


@pytest.fixture(scope="module")
def pipeline():
    """The zoo's base with fresh alignments: every branch is there, and `conv_in_cond` is not zero."""
    torch.manual_seed(0)
    built = with_alignments(load_pipeline(ZOO), TrainSettings(shards=Path("s"), alignments=AlignmentSettings()))
    torch.nn.init.normal_(built.unet.conv_in_cond.weight, std=0.1)
    return built


def source() -> tuple[np.ndarray, np.ndarray]:
    return render(sample_scene(3, 1), height=96, width=96, num_frames=8)


def sample(pipeline, frames: int = 8, **changes: object) -> np.ndarray:
    pictures, masks = source()
    arguments = {"num_inference_steps": 2, "guidance_scale": 2.0, "precision": "fp32"} | changes
    return pipeline("a fish at sea", pictures[:frames], masks[:frames], **arguments)


def test_the_same_seed_gives_the_same_video_and_another_seed_another(pipeline) -> None:
    first = sample(pipeline)
    assert first.shape == (8, 64, 64, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, sample(pipeline))
    assert not np.array_equal(first, sample(pipeline, seed=1))


def test_generation_and_editing_are_one_call_and_see_different_subjects(pipeline) -> None:
    assert not np.array_equal(sample(pipeline, frames=1), sample(pipeline, frames=8))


def test_a_saved_pipeline_makes_the_same_video(pipeline, tmp_path: Path) -> None:
    save_pipeline(pipeline, tmp_path)
    assert np.array_equal(sample(load_pipeline(tmp_path)), sample(pipeline))


def test_another_number_of_subject_frames_is_refused(pipeline) -> None:
    with pytest.raises(ValueError, match="give 1 subject frame to generate or 8 to edit, got 3"):
        sample(pipeline, frames=3)


def test_guidance_of_one_asks_the_denoiser_once_a_step(pipeline, monkeypatch) -> None:
    calls = []
    real = pipeline.unet.forward
    monkeypatch.setattr(pipeline.unet, "forward", lambda *a: calls.append(1) or real(*a))
    sample(pipeline, guidance_scale=1.0)
    assert len(calls) == 2
    sample(pipeline, guidance_scale=2.0)
    assert len(calls) == 6


def test_image_guidance_moves_away_from_showing_nothing(pipeline, monkeypatch) -> None:
    seen = []
    real = pipeline.unet.forward

    def remember(sample, timestep, condition):
        seen.append(condition)
        return real(sample, timestep, condition)

    monkeypatch.setattr(pipeline.unet, "forward", remember)
    guided = sample(pipeline, guidance_scale=1.0, image_guidance_scale=2.0, num_inference_steps=1)
    shown, blank = seen
    assert torch.equal(shown.text, blank.text)
    assert blank.image.shape[1] == 1
    frames = blank.subject.unflatten(0, (1, 8))
    torch.testing.assert_close(frames[:, :1].expand_as(frames), frames)  # the same masked picture in every slot
    assert not torch.equal(shown.subject, blank.subject)
    assert not np.array_equal(guided, sample(pipeline, guidance_scale=1.0, num_inference_steps=1))


def test_editing_puts_nothing_between_the_subject_and_the_model(pipeline, monkeypatch) -> None:
    """A denoiser that copies its slots' finest latents gives the subject's round trip: framing and slots are right."""
    seen = {}

    def remember(vae, pyramid, filled, empty):
        latents = encode_pyramid(vae, pyramid, filled, empty)
        seen["finest"] = latents[-1]
        return latents

    monkeypatch.setattr(pipeline_module, "encode_pyramid", remember)
    monkeypatch.setattr(pipeline_module, "denoise", lambda *a, **k: seen["finest"])
    video = sample(pipeline)
    frames, masks = source()
    alone = framed_frames(frames, 64) * framed_masks(masks, 64)
    with torch.no_grad():
        round_trip = decode_latents(pipeline.vae, encode_frames(pipeline.vae, alone[None]))[0]
    expected = ((round_trip + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.abs(video.astype(int) - expected.astype(int)).max() <= 1


@torch.no_grad()
def test_empty_slots_hold_a_masked_pictures_latents_or_zeros(pipeline) -> None:
    pictures = torch.randn(1, 3, 64, 64).clamp(-1, 1)
    filled = torch.tensor([[False, True, False]])
    (masked,) = encode_pyramid(pipeline.vae, [pictures], filled)
    (zeros,) = encode_pyramid(pipeline.vae, [pictures], filled, "zero_latent")
    grey = encode_frames(pipeline.vae, torch.zeros(1, 1, 3, 64, 64))[:, :, 0]
    torch.testing.assert_close(masked[:, :, 0], grey)
    assert zeros[:, :, [0, 2]].abs().max() == 0
    torch.testing.assert_close(masked[:, :, 1], zeros[:, :, 1])
