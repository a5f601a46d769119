"""Pixels and words -> what the denoiser takes: the frozen VAE and CLIP, for training and sampling alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

_AT_ONCE = 16  # pictures that go through the VAE together
EmptySlots = Literal["masked_image", "zero_latent"]


def encode_text(
    tokenizer: Any, text_encoder: Any, prompts: Sequence[str], device: torch.device | None = None
) -> Tensor:
    """Return the text encoder's last hidden states, [B, L, D]; longer prompts are cut to the encoder's length.

    `device` is where the encoder computes, if that is not where its weights wait.
    """
    tokens = tokenizer(list(prompts), padding="max_length", truncation=True, return_tensors="pt")
    states: Tensor = text_encoder(tokens.input_ids.to(device or text_encoder.device)).last_hidden_state
    return states


def encode_images(image_encoder: Any, clip_pixels: Tensor) -> Tensor:
    """Return CLIP's last hidden states, [B, S, M, E], for normalised pictures [B, S, 3, c, c]."""
    states: Tensor = image_encoder(clip_pixels.flatten(0, 1).to(image_encoder.dtype)).last_hidden_state
    return states.unflatten(0, clip_pixels.shape[:2])


def encode_frames(vae: Any, frames: Tensor) -> Tensor:
    """Return latents [B, 4, F, h, w], scaled to unit variance, of frames [B, F, 3, S, S] in [-1, 1]."""
    parts = frames.flatten(0, 1).to(vae.dtype).split(_AT_ONCE)
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in parts]) * vae.config.scaling_factor
    return latents.unflatten(0, frames.shape[:2]).transpose(1, 2)


def decode_latents(vae: Any, latents: Tensor) -> Tensor:
    """Return frames [B, F, 3, S, S] in [-1, 1] of latents [B, 4, F, h, w]."""
    batch, _, frames = latents.shape[:3]
    pixels: Tensor = vae.decode(latents.transpose(1, 2).flatten(0, 1) / vae.config.scaling_factor).sample
    return pixels.clamp(-1, 1).unflatten(0, (batch, frames))


def encode_pyramid(
    vae: Any, pyramid: Sequence[Tensor], filled: Tensor, empty_slots: EmptySlots = "masked_image"
) -> list[Tensor]:
    """Return HFA's latents at every scale, [B, 4, F, h_i, w_i].

    Args:
        vae: the autoencoder.
        pyramid: the subject's pictures, [K, 3, s_i, s_i] a scale.
        filled: the K slots they belong to, in order, bool [B, F].
        empty_slots: what all other slots hold: the latents of a fully masked picture, or zeros (Section 3.3:
            "the other images are masked").
    """
    latents = []
    for pictures in pyramid:
        # The masked picture goes through the VAE in the same batch, and only where a slot needs it.
        blank = pictures.new_zeros(1 if empty_slots == "masked_image" and not filled.all() else 0, *pictures.shape[1:])
        every = torch.cat([pictures, blank])
        if len(every):
            encoded = encode_frames(vae, every[None])[0].transpose(0, 1)  # [K or K + 1, 4, h, w]
        else:
            side = pictures.shape[-1] // 2 ** (len(vae.config.block_out_channels) - 1)
            encoded = pictures.new_zeros(0, vae.config.latent_channels, side, side, dtype=vae.dtype)
        latents.append(fill_slots(encoded[: len(pictures)], filled, encoded[-1] if len(blank) else None))
    return latents


def fill_slots(latents: Tensor, filled: Tensor, blank: Tensor | None) -> Tensor:
    """Return latents [K, 4, h, w] in the K slots that `filled`, bool [B, F], marks, [B, 4, F, h, w].

    The others hold `blank` [4, h, w], or zeros.
    """
    slots = latents.new_zeros(*filled.shape, *latents.shape[1:])
    if blank is not None:
        slots[~filled] = blank
    slots[filled] = latents
    return slots.transpose(1, 2)
