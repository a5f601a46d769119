"""One micro-batch: what the frozen encoders make of it, and its loss (Eq. 2)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from magdiff_model.data.batch import Batch, LatentBatch
from magdiff_model.data.framing import unit
from magdiff_model.data.subjects import clip_pixels
from magdiff_model.encoding import encode_frames, encode_images, encode_pyramid, encode_text, fill_slots
from magdiff_model.loss import diffusion_loss
from magdiff_model.pipeline import MagDiffPipeline


@dataclass(frozen=True)
class Encoded:
    """B samples as the denoiser takes them."""

    latents: Tensor
    """[B, 4, F, h, w]."""
    noise: Tensor
    """[B, 4, F, h, w]."""
    timesteps: Tensor
    """int64 [B]."""
    text: Tensor
    """The text encoder's last states, [B, L, D]."""
    clip_states: Tensor | None
    """CLIP's last states of the subject, [B, 1 or F, M, E]; None without an image branch."""
    pyramid: list[Tensor] | None
    """HFA's latents, [B, 4, F, h_i, w_i] a scale; None without HFA."""


@torch.no_grad()
def encode(pipeline: MagDiffPipeline, batch: Batch, device: torch.device) -> Encoded:
    """Return what the frozen encoders make of a batch of pictures and captions."""
    unet = pipeline.unet
    clip_states = pyramid = None
    if unet.config.apa_mode != "text_only":
        pixels = clip_pixels(batch.clip_pictures.to(device), pipeline.subject_settings())
        clip_states = encode_images(pipeline.image_encoder, pixels)
    if unet.config.hfa_scales:
        pictures = [unit(scale.to(device), pipeline.vae.dtype) for scale in batch.pyramid]
        pyramid = encode_pyramid(pipeline.vae, pictures, batch.filled.to(device), pipeline.config.empty_slots)
    latents = encode_frames(pipeline.vae, unit(batch.frames.to(device), pipeline.vae.dtype))
    precise = torch.promote_types(latents.dtype, torch.float32)  # noise is added in fp32 at least
    return Encoded(
        latents=latents.to(precise),
        noise=batch.noise.to(device, precise),
        timesteps=batch.timesteps.to(device),
        text=encode_text(pipeline.tokenizer, pipeline.text_encoder, batch.captions),
        clip_states=clip_states,
        pyramid=pyramid,
    )


def from_latents(pipeline: MagDiffPipeline, batch: LatentBatch, device: torch.device) -> Encoded:
    """Return the same of a batch that is encoded already."""
    unet, config = pipeline.unet, pipeline.config
    precise = torch.promote_types(pipeline.vae.dtype, torch.float32)
    move = functools.partial(torch.Tensor.to, device=device, dtype=precise)
    clip_states = pyramid = None
    if unet.config.apa_mode != "text_only":
        clip_states = move(batch.clip_states)
    if unet.config.hfa_scales:
        blank = [move(scale[0]) if config.empty_slots == "masked_image" else None for scale in batch.blank]
        scales = zip(batch.pyramid, blank, strict=True)
        pyramid = [fill_slots(move(scale), batch.filled.to(device), nothing) for scale, nothing in scales]
    return Encoded(
        latents=move(batch.latents),
        noise=move(batch.noise),
        timesteps=batch.timesteps.to(device),
        text=move(batch.text),
        clip_states=clip_states,
        pyramid=pyramid,
    )


class DiffusionStep(nn.Module):
    """The denoiser with its loss, as one module: condition and prediction have to be inside what spreads them."""

    def __init__(self, unet: nn.Module, scheduler: Any) -> None:
        super().__init__()
        self.unet = unet
        self.scheduler = scheduler

    def forward(
        self,
        latents: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        text: Tensor,
        clip_states: Tensor | None,
        pyramid: list[Tensor] | None,
    ) -> Tensor:
        """Return the mean loss of the fields of an `Encoded`."""
        unet: Any = self.unet
        condition = unet.condition(text, clip_states, pyramid, tuple(noise.shape[-2:]))
        return diffusion_loss(unet, self.scheduler, latents, noise, timesteps, condition)
