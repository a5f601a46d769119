"""ModelScope text-to-video, from the prompt alone: the source is not shown to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, TextToVideoSDPipeline, UNet3DConditionModel
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
from magdiff_eval.baselines.parts import network, noise, scheduler, tokenizer
from magdiff_eval.baselines.request import Request

CARD, DIFFUSERS = "model card of ali-vilab/text-to-video-ms-1.7b", "diffusers' default for the pipeline"
PART = Part(
    repository="ali-vilab/text-to-video-ms-1.7b",
    files=("model_index.json", *SCHEDULER, *TOKENIZER, *TEXT_ENCODER, *UNET, *VAE),
    pipeline_class="TextToVideoSDPipeline",
)


def load(folder: Path, _: Values) -> TextToVideoSDPipeline:
    """Return the pipeline, with DPM-Solver++ in place of DDIM, as the model card has it."""
    place = folder / PART.name
    return TextToVideoSDPipeline(
        vae=network(AutoencoderKL, place / "vae"),
        text_encoder=network(CLIPTextModel, place / "text_encoder"),
        tokenizer=tokenizer(place / "tokenizer"),
        unet=network(UNet3DConditionModel, place / "unet"),
        scheduler=scheduler(DPMSolverMultistepScheduler, place / "scheduler"),
    )


def sample(pipeline: Any, values: Values, request: Request) -> Pixels:
    """Return the frames of a prompt."""
    frames: Pixels = pipeline(
        request.prompt,
        height=values["height_px"],
        width=values["width_px"],
        num_frames=values["num_frames"],
        num_inference_steps=values["steps"],
        guidance_scale=values["guidance_scale"],
        generator=noise(request.seed),
        output_type="np",
    ).frames[0]
    return frames


MODELSCOPE = Baseline(
    name="modelscope-t2v",
    title="ModelScope",
    tasks=("generate",),
    parts=(PART,),
    settings={
        "steps": Setting(value=25, source=CARD),
        "guidance_scale": Setting(value=9.0, source=DIFFUSERS),
        "num_frames": Setting(value=16, source=DIFFUSERS),
        "height_px": Setting(value=256, source="its UNet's sample_size of 32 latents"),
        "width_px": Setting(value=256, source="its UNet's sample_size of 32 latents"),
    },
    attributes={"Input type": "text-to-video"},
    frame_rate=8.0,
    image="not shown: it makes videos from text alone",
    prompt="as it is",
    load=load,
    sample=sample,
)
