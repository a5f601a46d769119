"""I2VGen-XL, from the prompt and the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, I2VGenXLPipeline, I2VGenXLUNet
from PIL import Image as PillowImage
from PIL import ImageOps
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPVisionModelWithProjection

from magdiff_eval.baselines.entry import (
    FEATURE_EXTRACTOR,
    IMAGE_ENCODER,
    SCHEDULER,
    TEXT_ENCODER,
    TOKENIZER,
    UNET,
    VAE,
    Baseline,
    Part,
    Pixels,
    Setting,
    Values,
)
from magdiff_eval.baselines.parts import network, noise, picture, scheduler, tokenizer
from magdiff_eval.baselines.request import Request

EXAMPLE, DIFFUSERS = "diffusers' example for the pipeline", "diffusers' default for the pipeline"
NEGATIVE = (
    "Distorted, discontinuous, Ugly, blurry, low resolution, motionless, static, disfigured, disconnected limbs, "
    "Ugly faces, incomplete arms"
)
PART = Part(
    repository="ali-vilab/i2vgen-xl",
    files=(
        "model_index.json",
        *(*SCHEDULER, *TOKENIZER, *TEXT_ENCODER, *FEATURE_EXTRACTOR, *IMAGE_ENCODER, *UNET, *VAE),
    ),
    pipeline_class="I2VGenXLPipeline",
)


def load(folder: Path, _: Values) -> I2VGenXLPipeline:
    """Return the pipeline."""
    place = folder / PART.name
    return I2VGenXLPipeline(
        vae=network(AutoencoderKL, place / "vae"),
        text_encoder=network(CLIPTextModel, place / "text_encoder"),
        tokenizer=tokenizer(place / "tokenizer"),
        image_encoder=network(CLIPVisionModelWithProjection, place / "image_encoder"),
        feature_extractor=CLIPImageProcessor.from_pretrained(place / "feature_extractor", local_files_only=True),
        unet=network(I2VGenXLUNet, place / "unet"),
        scheduler=scheduler(DDIMScheduler, place / "scheduler"),
    )


def sample(pipeline: Any, values: Values, request: Request) -> Pixels:
    """Return the frames that go on from an image as the prompt says."""
    # Enlarged as the pipeline does, but without the column of black that its rounding leaves beside many images.
    size = (values["width_px"], values["height_px"])
    image = ImageOps.cover(picture(request.frames[0]), size, method=PillowImage.Resampling.BOX)
    frames: Pixels = pipeline(
        prompt_embeds=text_states(pipeline, request.prompt),
        negative_prompt_embeds=text_states(pipeline, values["negative_prompt"]),
        image=image,
        height=values["height_px"],
        width=values["width_px"],
        target_fps=values["fps"],
        num_frames=values["num_frames"],
        num_inference_steps=values["steps"],
        guidance_scale=values["guidance_scale"],
        generator=noise(request.seed),
        output_type="np",
    ).frames[0]
    return frames


@torch.no_grad()
def text_states(pipeline: Any, text: str) -> Tensor:
    """Return what the last layer but one says of a text, normalised, [1, L, D].

    The pipeline's own way there (clip_skip=1) asks for `text_encoder.text_model`, which transformers 5 does not have.
    """
    tokens = pipeline.tokenizer(
        text,
        padding="max_length",
        max_length=pipeline.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    encoder = pipeline.text_encoder
    states = encoder(tokens.input_ids.to(encoder.device), output_hidden_states=True).hidden_states[-2]
    normalised: Tensor = encoder.final_layer_norm(states)
    return normalised


I2VGEN_XL = Baseline(
    name="i2vgen-xl",
    title="I2VGen-XL",
    tasks=("generate",),
    parts=(PART,),
    settings={
        "steps": Setting(value=50, source=EXAMPLE),
        "guidance_scale": Setting(value=9.0, source=EXAMPLE),
        "num_frames": Setting(value=16, source=DIFFUSERS),
        "height_px": Setting(value=704, source=DIFFUSERS),
        "width_px": Setting(value=1280, source=DIFFUSERS),
        "fps": Setting(value=16, source=DIFFUSERS),
        "negative_prompt": Setting(value=NEGATIVE, source=EXAMPLE),
    },
    attributes={"Input type": "text&image-to-video"},
    frame_rate=16.0,
    image="whole; the pipeline cuts the middle to the video's shape, and a square of it for CLIP",
    prompt="as it is",
    notes=("the image's latents are drawn with the device's own noise: the same seed differs between CPU and GPU",),
    load=load,
    sample=sample,
)
