from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler
from tests_support import ZOO

import magdiff_model.pipeline as pipeline_module
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_model.checkpoints import load_pipeline, save_pipeline
from magdiff_model.data.framing import framed_frames, framed_masks, unit
from magdiff_model.encoding import decode_latents, encode_frames, encode_pyramid
from magdiff_model.sampling import with_solver
from magdiff_model.training.settings import AlignmentSettings, TrainSettings
from magdiff_model.training.setup import with_alignments


@pytest.fixture(scope="module")
def pipeline():
    """The zoo's base with fresh alignments: every branch is there, and `conv_in_cond` is not zero."""
    torch.manual_seed(0)
    built = with_alignments(load_pipeline(ZOO), TrainSettings(shards=("s",), alignments=AlignmentSettings()))
    torch.nn.init.normal_(built.unet.conv_in_cond.weight, std=0.1)
    return built


def source() -> tuple[np.ndarray, np.ndarray]:
    return render(sample_scene(3, 1), height=96, width=96, num_frames=8)


def sample(pipeline, frames: int = 8, **changes: object) -> np.ndarray:
    pictures, masks = source()
    arguments = {"num_inference_steps": 2, "guidance_scale": 2.0, "precision": "fp32"} | changes
    return pipeline("a fish at sea", pictures[:frames], masks[:frames], **arguments).frames[0]


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
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: diffusers\n")
    assert "| frames at once | 8 of 64x64 px |" in card
    assert sorted(path.suffix for path in tmp_path.glob("unet/*")) == [".json", ".safetensors"]


def test_another_number_of_subject_frames_is_refused(pipeline) -> None:
    with pytest.raises(ValueError, match="give 1 subject frame to generate or 8 to edit, got 3"):
        sample(pipeline, frames=3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": ["a", "b"]}, "2 prompts, 1 subjects, 1 masks, 1 seeds: need one each"),
        ({"num_frames": 7}, "the model makes 8 at once, and more in windows"),
        ({"solver": "euler"}, "give one of ddim, dpmsolver"),
    ],
)
def test_calls_that_do_not_fit_together_are_refused(pipeline, changes, words) -> None:
    pictures, masks = source()
    arguments = {"prompt": "a", "subject_frames": pictures[:1], "subject_masks": masks[:1], "seed": [3]} | changes
    with pytest.raises(ValueError, match=words):
        pipeline(**arguments)


def test_generation_and_editing_in_one_batch_are_refused(pipeline) -> None:
    pictures, _ = source()
    with pytest.raises(ValueError, match=r"subjects of \[1, 8\] frames in one batch"):
        pipeline(["a", "b"], [pictures[:1], pictures], None)


@pytest.fixture
def double(pipeline):
    """The pipeline in float64 for one test."""
    yield pipeline.to(torch.float64)
    pipeline.to(torch.float32)


def latents(pipeline, prompts: list[str], numbers: list[int], frames: int = 8, **changes: object) -> torch.Tensor:
    pictures, masks = source()
    return pipeline(
        prompts,
        [np.roll(pictures[:frames], number, axis=2) for number in numbers],
        [np.roll(masks[:frames], number, axis=2) for number in numbers],
        num_inference_steps=1,
        guidance_scale=3.0,
        image_guidance_scale=2.0,
        seed=numbers,
        output_type="latent",
        **changes,
    ).frames


@pytest.mark.parametrize("frames", [1, 8])
def test_videos_do_not_depend_on_their_batch(double, frames) -> None:
    prompts, numbers = ["a fish at sea", "a kite", "", "a red house"], [0, 3, 1, 2]
    together = latents(double, prompts, numbers, frames)
    assert together.dtype == torch.float64
    for chosen in (slice(0, 1), slice(1, 3), slice(1, 4)):
        part = latents(double, prompts[chosen], numbers[chosen], frames)
        torch.testing.assert_close(part, together[chosen], rtol=0, atol=1e-8)


@pytest.mark.parametrize("frames", [1, 8])
def test_projecting_prompts_once_gives_the_same_video(double, frames) -> None:
    once = latents(double, ["a fish at sea"], [1], frames)
    anew = latents(double, ["a fish at sea"], [1], frames, cache_keys_values=False)
    torch.testing.assert_close(once, anew, rtol=0, atol=1e-8)


def test_a_longer_video_is_made_in_windows_that_see_their_own_frames(pipeline, monkeypatch) -> None:
    seen = []
    real = pipeline.unet.forward

    def remember(sample, timestep, condition):
        seen.append((sample.shape[2], condition.subject.shape[1], condition.image.tokens))
        return real(sample, timestep, condition)

    monkeypatch.setattr(pipeline.unet, "forward", remember)
    pictures, masks = render(sample_scene(3, 1), height=96, width=96, num_frames=14)
    arguments = {"num_frames": 14, "num_inference_steps": 1, "guidance_scale": 1.0, "precision": "fp32"}
    edited = pipeline("a fish at sea", pictures, masks, **arguments).frames
    assert edited.shape == (1, 14, 64, 64, 3)
    assert [entry[:2] for entry in seen] == [(8, 8)] * 3  # frames 0 to 7, 4 to 11, 6 to 13
    assert torch.equal(seen[0][2][:, 4:], seen[1][2][:, :4])
    assert torch.equal(seen[1][2][:, 2:], seen[2][2][:, :6])
    seen.clear()
    generated = pipeline("a fish at sea", pictures[:1], masks[:1], **arguments).frames
    assert generated.shape == (1, 14, 64, 64, 3)
    assert [entry[:2] for entry in seen] == [(8, 8)] * 3
    assert seen[0][2].shape[1] == 1


@pytest.mark.parametrize("solver", ["ddim", "dpmsolver++", "unipc"])
def test_every_solver_makes_a_video_and_leaves_the_pipelines_own_alone(pipeline, solver) -> None:
    own = pipeline.scheduler
    video = sample(pipeline, solver=solver, num_inference_steps=3)
    assert video.std() > 1
    assert np.array_equal(video, sample(pipeline, num_inference_steps=3)) == (solver == "ddim")
    assert pipeline.scheduler is own


def test_a_callback_sees_every_step_and_may_change_the_latents(pipeline) -> None:
    steps = []

    def at_end(_, step, timestep, values):
        steps.append((step, int(timestep)))
        return {"latents": values["latents"] * 0}

    video = sample(pipeline, callback_on_step_end=at_end)
    assert [step for step, _ in steps] == [0, 1]
    assert steps[0][1] > steps[1][1]
    assert np.array_equal(video[0], video[7])  # the last latents were all zero


def test_the_zoos_older_config_takes_every_alignment_setting() -> None:
    chosen = AlignmentSettings(apa_own_query=True, image_prompt="resampler", hfa_init="copy", hfa_views="cropped")
    built = with_alignments(load_pipeline(ZOO), TrainSettings(shards=("s",), alignments=chosen))
    config = built.unet.config
    assert (config.apa_own_query, config.image_prompt, config.hfa_init) == (True, "resampler", "copy")
    assert built.config.subject_views == "cropped"
    assert sample(built, num_inference_steps=1).shape == (8, 64, 64, 3)


def test_the_seed_decides_for_solvers_that_add_noise_too(pipeline, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "scheduler", DDPMScheduler.from_config(pipeline.scheduler.config))
    first = sample(pipeline)
    assert np.array_equal(first, sample(pipeline))
    assert not np.array_equal(first, sample(pipeline, seed=1))


def test_a_solver_does_not_clip_latents_whatever_the_checkpoints_own_left_out(pipeline) -> None:
    own = DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++")
    assert not with_solver(own, "ddim").config.clip_sample
    assert with_solver(own, "dpmsolver++").config.algorithm_type == "dpmsolver++"


def test_nothing_shown_and_zeros_in_empty_slots_need_no_picture(pipeline) -> None:
    vae = AutoencoderKL(norm_num_groups=4, block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
                        up_block_types=("UpDecoderBlock2D",) * 2).eval()  # fmt: skip
    (latents,) = encode_pyramid(vae, [torch.zeros(0, 3, 32, 32)], torch.zeros(1, 8, dtype=torch.bool), "zero_latent")
    assert latents.shape == (1, 4, 8, 16, 16)
    assert latents.abs().max() == 0


def test_negative_prompts_steer_only_under_guidance(pipeline) -> None:
    plain = sample(pipeline)
    assert not np.array_equal(plain, sample(pipeline, negative_prompt="a house"))
    alone = sample(pipeline, guidance_scale=1.0)
    assert np.array_equal(alone, sample(pipeline, guidance_scale=1.0, negative_prompt="a house"))


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
    assert torch.equal(shown.text.tokens, blank.text.tokens)
    assert blank.image.tokens.shape[1] == 1
    frames = blank.subject
    torch.testing.assert_close(frames[:, :1].expand_as(frames), frames)  # the same masked picture in every slot
    assert not torch.equal(shown.subject, blank.subject)
    assert not np.array_equal(guided, sample(pipeline, guidance_scale=1.0, num_inference_steps=1))


def test_editing_puts_nothing_between_the_subject_and_the_model(pipeline, monkeypatch) -> None:
    """A denoiser that copies its slots' finest latents gives the subject's round trip, to the pixel inside the mask.

    So framing, masking, the order of the slots, the solver and guidance are right.
    """
    seen = {}

    def remember(vae, pyramid, filled, empty):
        latents = encode_pyramid(vae, pyramid, filled, empty)
        seen["finest"] = latents[-1]
        return latents

    def copy(sample, timestep, _):
        power = pipeline.scheduler.alphas_cumprod[timestep]
        noise = (sample - power.sqrt() * seen["finest"]) / (1 - power).sqrt()
        return power.sqrt() * noise - (1 - power).sqrt() * seen["finest"]  # v, which the zoo's base predicts

    monkeypatch.setattr(pipeline_module, "encode_pyramid", remember)
    monkeypatch.setattr(pipeline.unet, "forward", copy)
    video = sample(pipeline, num_inference_steps=4, guidance_scale=7.5)
    frames, masks = source()
    inside = framed_masks(masks, 64)
    shown = unit(framed_frames(frames, 64)) * inside[:, None]
    with torch.no_grad():
        round_trip = decode_latents(pipeline.vae, encode_frames(pipeline.vae, shown[None]))[0]
    expected = ((round_trip + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    error = np.abs(video.astype(int) - expected.astype(int))
    assert error[inside.numpy()].max() <= 1
    assert error.max() <= 1
    assert np.abs(np.diff(expected.astype(int), axis=0)).max() > 50  # slots in another order would show


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
