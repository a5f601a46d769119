"""Stable Video Diffusion (XT), from the image alone: the prompt is not shown to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from PIL import Image as PillowImage
from PIL import ImageOps
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from magdiff_eval.baselines.entry import (
    FEATURE_EXTRACTOR,
    IMAGE_ENCODER,
    SCHEDULER,
    UNET,
    VAE,
    Baseline,
    Part,
    Pixels,
    Setting,
    Values,
)
from magdiff_eval.baselines.parts import network, noise, picture, scheduler
from magdiff_eval.baselines.request import Request

CARD, DIFFUSERS = "model card of stable-video-diffusion-img2vid-xt", "diffusers' default for the pipeline"
PART = Part(
    repository="stabilityai/stable-video-diffusion-img2vid-xt",
    files=("model_index.json", *SCHEDULER, *FEATURE_EXTRACTOR, *IMAGE_ENCODER, *UNET, *VAE),
    pipeline_class="StableVideoDiffusionPipeline",
    note="accept its licence on the model's page first",
)


def load(folder: Path, _: Values) -> StableVideoDiffusionPipeline:
    """Return the pipeline."""
    place = folder / PART.name
    return StableVideoDiffusionPipeline(
        vae=network(AutoencoderKLTemporalDecoder, place / "vae"),
        image_encoder=network(CLIPVisionModelWithProjection, place / "image_encoder"),
        unet=network(UNetSpatioTemporalConditionModel, place / "unet"),
        scheduler=scheduler(EulerDiscreteScheduler, place / "scheduler"),
        feature_extractor=CLIPImageProcessor.from_pretrained(place / "feature_extractor", local_files_only=True),
    )


def sample(pipeline: Any, values: Values, request: Request) -> Pixels:
    """Return the frames that go on from an image."""
    size = (values["width_px"], values["height_px"])
    frames: Pixels = pipeline(
        ImageOps.fit(picture(request.frames[0]), size, method=PillowImage.Resampling.LANCZOS),
        height=values["height_px"],
        width=values["width_px"],
        num_frames=values["num_frames"],
        num_inference_steps=values["steps"],
        min_guidance_scale=values["min_guidance_scale"],
        max_guidance_scale=values["guidance_scale"],
        fps=values["fps"],
        motion_bucket_id=values["motion_bucket_id"],
        noise_aug_strength=values["noise_aug_strength"],
        decode_chunk_size=values["decode_chunk_size"],
        generator=noise(request.seed),
        output_type="np",
    ).frames[0]
    return frames


STABLE_VIDEO = Baseline(
    name="stable-video-diffusion",
    title="Stable Video Diffusion",
    tasks=("generate",),
    parts=(PART,),
    settings={
        "steps": Setting(value=25, source=DIFFUSERS),
        "guidance_scale": Setting(value=3.0, source=f"{DIFFUSERS}; of the last frame"),
        "min_guidance_scale": Setting(value=1.0, source=f"{DIFFUSERS}; of the first frame"),
        "num_frames": Setting(value=25, source=CARD),
        "height_px": Setting(value=576, source=CARD),
        "width_px": Setting(value=1024, source=CARD),
        "fps": Setting(value=7, source=DIFFUSERS),
        "motion_bucket_id": Setting(value=127, source=DIFFUSERS),
        "noise_aug_strength": Setting(value=0.02, source=DIFFUSERS),
        "decode_chunk_size": Setting(value=8, source="diffusers' guide to Stable Video Diffusion"),
    },
    frame_rate=7.0,
    image="whole; the middle cut to the video's shape, then resized (Lanczos), as the model card's example has it",
    prompt="not shown: it makes videos from an image alone",
    load=load,
    sample=sample,
)
