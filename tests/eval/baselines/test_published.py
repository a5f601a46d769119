"""Published settings, as the pipelines are called with them, and videos as diffusers' own loading makes them."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from eval.baselines.conftest import request_of, source
from eval.baselines.tiny import FAST
from PIL import Image as PillowImage
from safetensors.torch import load_file
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from magdiff_eval.baselines import BASELINES, Maker, Request, baseline_of, load_baseline
from magdiff_eval.baselines.instruct_pix2pix import fitted_size
from magdiff_eval.baselines.registry import values_of

EXPECTED: dict[str, dict[str, Any]] = {
    "animatediff-ip-adapter": {
        "num_inference_steps": 50, "guidance_scale": 7.5, "num_frames": 16, "height": 512, "width": 512,
        "negative_prompt": "bad quality, worse quality, low resolution",
    },
    "i2vgen-xl": {
        "num_inference_steps": 50, "guidance_scale": 9.0, "num_frames": 16, "height": 704, "width": 1280,
        "target_fps": 16,
    },
    "stable-video-diffusion": {
        "num_inference_steps": 25, "min_guidance_scale": 1.0, "max_guidance_scale": 3.0, "num_frames": 25,
        "height": 576, "width": 1024, "fps": 7, "motion_bucket_id": 127, "noise_aug_strength": 0.02,
        "decode_chunk_size": 8,
    },
    "instruct-pix2pix": {"num_inference_steps": 100, "guidance_scale": 7.5, "image_guidance_scale": 1.5},
    "modelscope-t2v": {
        "num_inference_steps": 25, "guidance_scale": 9.0, "num_frames": 16, "height": 256, "width": 256,
    },
}  # fmt: skip
SCHEDULERS = {
    "animatediff-ip-adapter": {
        "class": "DDIMScheduler", "beta_schedule": "linear", "clip_sample": False, "timestep_spacing": "linspace",
        "steps_offset": 1, "beta_start": 0.00085,
    },
    "i2vgen-xl": {"class": "DDIMScheduler", "rescale_betas_zero_snr": True, "beta_schedule": "scaled_linear"},
    "stable-video-diffusion": {
        "class": "EulerDiscreteScheduler", "prediction_type": "v_prediction", "sigma_max": 700.0,
    },
    "instruct-pix2pix": {"class": "EulerAncestralDiscreteScheduler", "beta_schedule": "scaled_linear"},
    "modelscope-t2v": {"class": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++"},
}  # fmt: skip
every = pytest.mark.parametrize("name", EXPECTED)


@every
def test_published_settings_reach_the_pipeline_unless_others_are_given(
    weights: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = load_baseline(name, weights, device="cpu", precision="fp32", steps=None)
    assert maker.stamp["not_as_published"] == []
    called: list[dict[str, Any]] = []

    def stand_in(self: Any, *args: Any, **given: Any) -> Any:
        called.append(given)
        frames = np.zeros((given.get("num_frames", 1), 8, 8, 3))
        return diffusers.utils.BaseOutput(frames=[frames], images=frames)

    monkeypatch.setattr(getattr(diffusers, maker.stamp["class"]), "__call__", stand_in)
    maker.make(request_of(name))
    assert called[0].items() >= EXPECTED[name].items()
    assert maker.stamp["scheduler"].items() >= SCHEDULERS[name].items()

    changed = load_baseline(name, weights, device="cpu", precision="fp32", steps=7, guidance_scale=2)
    assert changed.stamp["not_as_published"] == ["steps", "guidance_scale"]
    assert (changed.stamp["steps"], changed.stamp["guidance_scale"]) == (7, 2.0)
    changed.make(request_of(name))
    assert called[-1]["num_inference_steps"] == 7
    assert called[-1].get("guidance_scale", called[-1].get("max_guidance_scale")) == 2.0


@every
def test_every_setting_names_who_published_it(name: str) -> None:
    baseline = baseline_of(name)
    assert all(len(setting.source) > 10 for setting in baseline.settings.values())
    assert {"steps", "guidance_scale"} <= set(baseline.settings)


@every
def test_the_stamp_is_json_and_has_the_hash_of_every_weights_file(weights: Path, name: str) -> None:
    stamp = load_baseline(name, weights, device="cpu", precision="fp32", **FAST[name]).stamp
    assert json.loads(json.dumps(stamp)) == stamp
    parts = {part.name for part in baseline_of(name).parts}
    held = {path.relative_to(weights).as_posix(): path for part in parts for path in (weights / part).rglob("*.safe*")}
    assert stamp["weights"] == {file: hashlib.sha256(path.read_bytes()).hexdigest() for file, path in held.items()}
    assert stamp["diffusers"] == diffusers.__version__
    assert sorted(stamp["not_as_published"]) == sorted(FAST[name])


def test_ip_adapter_is_as_strong_as_its_readme_says_and_follows_the_setting(weights: Path) -> None:
    for given, expected in ((None, 0.5), (0.9, 0.9)):
        maker = load_baseline("animatediff-ip-adapter", weights, device="cpu", ip_adapter_scale=given)
        shown = [
            processor.scale
            for processor in maker._pipeline.unet.attn_processors.values()  # type: ignore[attr-defined]
            if hasattr(processor, "to_k_ip")
        ]
        assert shown == [[expected]] * 4
        assert maker.stamp["ip_adapter_scale"] == expected


def test_text_encoders_hold_what_files_of_2023_call_by_older_names(weights: Path) -> None:
    maker = load_baseline("i2vgen-xl", weights, device="cpu")
    held = maker._pipeline.text_encoder.state_dict()  # type: ignore[attr-defined]
    file = load_file(weights / "i2vgen-xl" / "text_encoder" / "model.safetensors")
    named = {name.removeprefix("text_model."): value for name, value in file.items() if "position_ids" not in name}
    assert len(named) == 36
    assert all(torch.equal(held[name], value) for name, value in named.items())


def plain(name: str, weights: Path, request: Request) -> np.ndarray:
    """Make all frames with diffusers' own `from_pretrained`, called as its documentation does."""
    image = PillowImage.fromarray(request.frames[0])
    options: dict[str, Any] = {"local_files_only": True, "dtype": torch.float32}
    noise = torch.Generator().manual_seed(request.seed)
    fast = FAST[name]
    sizes = {"height": fast.get("height_px"), "width": fast.get("width_px"), "num_frames": fast.get("num_frames")}
    call: dict[str, Any] = {"num_inference_steps": 2, "generator": noise, "output_type": "np"}
    if name == "animatediff-ip-adapter":
        encoder = CLIPVisionModelWithProjection.from_pretrained(weights / "IP-Adapter" / "models" / "image_encoder")
        pipeline = diffusers.AnimateDiffPipeline.from_pretrained(
            weights / "stable-diffusion-v1-5",
            motion_adapter=diffusers.MotionAdapter.from_pretrained(weights / "animatediff-motion-adapter-v1-5-3"),
            image_encoder=encoder,
            feature_extractor=None,
            **options,
        )
        pipeline.scheduler = diffusers.DDIMScheduler.from_pretrained(
            weights / "stable-diffusion-v1-5" / "scheduler",
            clip_sample=False,
            timestep_spacing="linspace",
            beta_schedule="linear",
            steps_offset=1,
        )
        pipeline.feature_extractor = CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        )
        pipeline.load_ip_adapter(weights / "IP-Adapter", subfolder="models", weight_name="ip-adapter_sd15.safetensors")
        pipeline.set_ip_adapter_scale(0.5)
        negative = "bad quality, worse quality, low resolution"
        shown = {"ip_adapter_image": image, "negative_prompt": negative, "guidance_scale": 7.5}
        return pipeline(request.prompt, **shown, **sizes, **call).frames[0]
    if name == "i2vgen-xl":
        pipeline = diffusers.I2VGenXLPipeline.from_pretrained(weights / "i2vgen-xl", **options)
        pipeline.text_encoder.__dict__["text_model"] = pipeline.text_encoder  # as transformers 4 had it
        negative = str(BASELINES[name].settings["negative_prompt"].value)
        torch.manual_seed(request.seed)
        return pipeline(request.prompt, image, negative_prompt=negative, **sizes, **call).frames[0]
    if name == "stable-video-diffusion":
        place = weights / "stable-video-diffusion-img2vid-xt"
        pipeline = diffusers.StableVideoDiffusionPipeline.from_pretrained(place, **options)
        return pipeline(image, decode_chunk_size=8, **sizes, **call).frames[0]
    if name == "modelscope-t2v":
        pipeline = diffusers.DiffusionPipeline.from_pretrained(weights / "text-to-video-ms-1.7b", **options)
        pipeline.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
        return pipeline(request.prompt, **sizes, **call).frames[0]
    place = weights / "instruct-pix2pix"
    pipeline = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(
        place, safety_checker=None, feature_extractor=None, **options
    )
    return pipeline(request.prompt, image, **call).images


@every
def test_videos_are_what_diffusers_own_loading_makes(weights: Path, maker: Callable[[str], Maker], name: str) -> None:
    """The image has the size that the baseline wants, so that no framing of ours comes in between."""
    height, width = {"instruct-pix2pix": (64, 64), "animatediff-ip-adapter": (32, 32)}.get(name, (16, 32))
    wanted = 1 if name == "instruct-pix2pix" else 4
    request = Request(prompt="a red ball", frames=source(2, 1, height, width), masks=None, num_frames=wanted, seed=11)
    expected = plain(name, weights, request)
    assert np.array_equal(maker(name).make(request), (expected * 255).round().astype(np.uint8))


@pytest.mark.parametrize("shape", [(480, 854), (512, 512), (768, 1024), (32, 48)])
def test_i2vgen_xl_sees_no_black_beside_the_image(
    weights: Path, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pipeline's cutting leaves a black column beside images of the first three sizes."""
    maker = load_baseline("i2vgen-xl", weights, device="cpu")
    seen: list[PillowImage.Image] = []

    def stand_in(self: Any, **given: Any) -> Any:
        seen.append(given["image"])
        return diffusers.utils.BaseOutput(frames=[np.zeros((16, 8, 8, 3))])

    monkeypatch.setattr(diffusers.I2VGenXLPipeline, "__call__", stand_in)
    white = np.full((1, *shape, 3), 255, np.uint8)
    maker.make(Request(prompt="a", frames=white, masks=None, num_frames=2, seed=0))
    cut = sys.modules[diffusers.I2VGenXLPipeline.__module__]._center_crop_wide
    assert np.asarray(cut(seen[0], (1280, 704))).min() == 255


def test_frames_are_cut_for_editing_as_the_authors_of_instruct_pix2pix_do() -> None:
    assert fitted_size(854, 480, 512) == (512, 320)
    assert fitted_size(480, 854, 512) == (320, 512)
    assert fitted_size(512, 512, 512) == (512, 512)
    assert fitted_size(300, 100, 512) == (576, 192)
    assert fitted_size(48, 32, 64) == (64, 64)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"step": 3}, "modelscope-t2v has no setting 'step'; did you mean steps?"),
        ({"motion_bucket_id": 3}, "has no setting 'motion_bucket_id': it has steps, guidance_scale"),
        ({"steps": 2.5}, "steps of modelscope-t2v is 2.5; give a positive whole number, such as 25"),
        ({"num_frames": 0}, "num_frames of modelscope-t2v is 0; give a positive whole number"),
        ({"guidance_scale": "high"}, "guidance_scale of modelscope-t2v is 'high'; give a number, such as 9.0"),
    ],
)
def test_settings_that_a_baseline_does_not_have_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("?", r"\?")):
        values_of(baseline_of("modelscope-t2v"), given)


def test_an_unknown_baseline_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown baseline 'tune-a-video': give one of animatediff-ip-adapter, i2vgen"):
        load_baseline("tune-a-video", tmp_path)
