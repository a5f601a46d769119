"""AnimateDiff (V3's motion modules) on Stable Diffusion 1.5, which IP-Adapter shows the image to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import AnimateDiffPipeline, AutoencoderKL, DDIMScheduler, MotionAdapter, UNet2DConditionModel
from transformers import CLIPImageProcessorPil, CLIPTextModel, CLIPVisionModelWithProjection

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

GUIDE = "diffusers' IP-Adapter guide, its AnimateDiff example"
SIZE = "Stable Diffusion 1.5's own, its UNet's sample_size of 64 latents"
BASE = Part(
    repository="stable-diffusion-v1-5/stable-diffusion-v1-5",
    files=("model_index.json", *SCHEDULER, *TOKENIZER, *TEXT_ENCODER, *UNET, *VAE),
    pipeline_class="StableDiffusionPipeline",
)
MOTION = Part(
    repository="guoyww/animatediff-motion-adapter-v1-5-3",
    files=("config.json", "diffusion_pytorch_model.safetensors"),
)
ADAPTER_FILE = "ip-adapter_sd15.safetensors"
ADAPTER = Part(
    repository="h94/IP-Adapter",
    files=(
        f"models/{ADAPTER_FILE}",
        "models/image_encoder/config.json",
        "models/image_encoder/model.safetensors",
    ),
)


def load(folder: Path, values: Values) -> AnimateDiffPipeline:
    """Return the pipeline, with the linear DDIM that the motion modules were trained with."""
    base, adapter = folder / BASE.name, folder / ADAPTER.name
    image_encoder = network(CLIPVisionModelWithProjection, adapter / "models" / "image_encoder")
    side = image_encoder.config.image_size
    pipeline = AnimateDiffPipeline(
        vae=network(AutoencoderKL, base / "vae"),
        text_encoder=network(CLIPTextModel, base / "text_encoder"),
        tokenizer=tokenizer(base / "tokenizer"),
        unet=network(UNet2DConditionModel, base / "unet"),
        motion_adapter=network(MotionAdapter, folder / MOTION.name),
        scheduler=scheduler(
            DDIMScheduler,
            base / "scheduler",
            beta_schedule="linear",
            clip_sample=False,
            timestep_spacing="linspace",
            steps_offset=1,
        ),
        image_encoder=image_encoder,
    )
    # As load_ip_adapter would make it, but with Pillow's resizing, which CLIP was trained with.
    pipeline.feature_extractor = CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    pipeline.load_ip_adapter(
        str(adapter), subfolder="models", weight_name=ADAPTER_FILE, image_encoder_folder=None, local_files_only=True
    )
    pipeline.set_ip_adapter_scale(values["ip_adapter_scale"])
    return pipeline


def sample(pipeline: Any, values: Values, request: Request) -> Pixels:
    """Return the frames of a prompt, with what the image shows."""
    frames: Pixels = pipeline(
        request.prompt,
        negative_prompt=values["negative_prompt"],
        ip_adapter_image=picture(request.frames[0]),
        height=values["height_px"],
        width=values["width_px"],
        num_frames=values["num_frames"],
        num_inference_steps=values["steps"],
        guidance_scale=values["guidance_scale"],
        generator=noise(request.seed),
        output_type="np",
    ).frames[0]
    return frames


ANIMATEDIFF = Baseline(
    name="animatediff-ip-adapter",
    title="AnimateDiff (V3)",
    tasks=("generate",),
    parts=(BASE, MOTION, ADAPTER),
    settings={
        "steps": Setting(value=50, source=GUIDE),
        "guidance_scale": Setting(value=7.5, source=GUIDE),
        "num_frames": Setting(value=16, source=GUIDE),
        "height_px": Setting(value=512, source=SIZE),
        "width_px": Setting(value=512, source=SIZE),
        "ip_adapter_scale": Setting(value=0.5, source="IP-Adapter's README, for an image with a text"),
        "negative_prompt": Setting(value="bad quality, worse quality, low resolution", source=GUIDE),
    },
    attributes={"Input type": "text&image-to-video"},
    frame_rate=8.0,
    image="the middle square of the whole image, which CLIP's processor cuts; IP-Adapter shows it to every frame",
    prompt="as it is",
    notes=("the paper does not say which base model, nor how the image was shown",),
    load=load,
    sample=sample,
)
