"""InstructPix2Pix framewise: every frame is edited by itself, all with the same noise, the prompt as instruction."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from PIL import Image as PillowImage
from PIL import ImageOps
from transformers import CLIPTextModel

from magdiff_eval.baselines.entry import (
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

AUTHORS, DIFFUSERS = "the authors' edit_cli.py", "diffusers' default for the pipeline"
GRID_PX = 64
PART = Part(
    repository="timbrooks/instruct-pix2pix",
    files=("model_index.json", *SCHEDULER, *TOKENIZER, *TEXT_ENCODER, *UNET, *VAE),
    pipeline_class="StableDiffusionInstructPix2PixPipeline",
)


def load(folder: Path, _: Values) -> StableDiffusionInstructPix2PixPipeline:
    """Return the pipeline without its safety checker, be it there or not: what it blackens would be scored."""
    place = folder / PART.name
    return StableDiffusionInstructPix2PixPipeline(
        vae=network(AutoencoderKL, place / "vae"),
        text_encoder=network(CLIPTextModel, place / "text_encoder"),
        tokenizer=tokenizer(place / "tokenizer"),
        unet=network(UNet2DConditionModel, place / "unet"),
        scheduler=scheduler(EulerAncestralDiscreteScheduler, place / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sample(pipeline: Any, values: Values, request: Request) -> Pixels:
    """Return every frame edited."""
    size = fitted_size(request.frames.shape[2], request.frames.shape[1], values["long_side_px"])
    edited = [
        pipeline(
            request.prompt,
            image=ImageOps.fit(picture(frame), size, method=PillowImage.Resampling.LANCZOS),
            num_inference_steps=values["steps"],
            guidance_scale=values["guidance_scale"],
            image_guidance_scale=values["image_guidance_scale"],
            generator=noise(request.seed),
            output_type="np",
        ).images[0]
        for frame in request.frames
    ]
    return np.stack(edited)


def fitted_size(width: int, height: int, long_side_px: int) -> tuple[int, int]:
    """Return the width and height that frames are edited in, as the authors choose them.

    The long side is first `long_side_px`; the short one is then rounded up to a multiple of 64, and the long one, which
    grows with it, down to one. What sticks out is cut off.
    """
    short, longer = sorted((width, height))
    side = math.ceil(short * long_side_px / longer / GRID_PX) * GRID_PX
    other = longer * side // short // GRID_PX * GRID_PX
    return (other, side) if width >= height else (side, other)


INSTRUCT_PIX2PIX = Baseline(
    name="instruct-pix2pix",
    title="Framewise IP2P",
    tasks=("edit",),
    parts=(PART,),
    settings={
        "steps": Setting(value=100, source=f"{DIFFUSERS}, and {AUTHORS}"),
        "guidance_scale": Setting(value=7.5, source=f"{DIFFUSERS}, and {AUTHORS}"),
        "image_guidance_scale": Setting(value=1.5, source=DIFFUSERS),
        "long_side_px": Setting(value=512, source=AUTHORS),
    },
    attributes={"Inference method": "Tuning-Free"},
    frame_rate=None,
    image="every frame by itself, whole but for what sticks out of sides that are multiples of 64, as its authors cut",
    prompt="as the instruction, as it is",
    notes=("every frame starts from the same noise", "no safety checker: what it blackens would be scored"),
    load=load,
    sample=sample,
)
