"""Temporal attention: every place looks along its own frames (VidRD's Temp-Attn, inside the transformer block).

A sinusoidal code tells frames apart. `position_code="residual"` adds it to the stream itself, as VidRD's weights
expect; `"branch"` adds it to this branch's input only, whose output projection starts at zero, so that a 2D
checkpoint with new temporal layers still equals the 2D UNet frame by frame. A single frame passes unchanged.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn

PositionCode = Literal["residual", "branch"]


def sinusoidal_code(length: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Return the transformer's position code, float32 [length, channels] (Vaswani et al., Section 3.5)."""
    rates = torch.exp(torch.arange(0, channels, 2, device=device) * (-math.log(10_000.0) / channels))
    phases = torch.arange(length, device=device)[:, None] * rates
    return torch.stack([phases.sin(), phases.cos()], dim=-1).flatten(1)[:, :channels]


class TemporalAttention(nn.Module):
    """Self-attention over frames for C channels; `zero_init` makes it add nothing until trained."""

    def __init__(self, channels: int, head_channels: int, position_code: PositionCode) -> None:
        super().__init__()
        self.position_code = position_code
        self.norm = nn.LayerNorm(channels)
        self.attention = Attention(channels, heads=channels // head_channels, dim_head=head_channels)
        nn.init.zeros_(self.attention.to_out[0].weight)
        nn.init.zeros_(self.attention.to_out[0].bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the stream with the branch added, [B, F, N, C]."""
        batch, frames, length, channels = hidden.shape
        if frames == 1:
            return hidden
        code = sinusoidal_code(frames, channels, hidden.device).to(hidden)[:, None]  # [F, 1, C]
        if self.position_code == "residual":
            hidden = hidden + code
            branch = self.norm(hidden)
        else:
            branch = self.norm(hidden) + code
        by_place = branch.transpose(1, 2).reshape(batch * length, frames, channels)
        attended = self.attention(by_place).reshape(batch, length, frames, channels)
        return hidden + attended.transpose(1, 2)


def temporal_transformer(num_heads: int, head_channels: int, channels: int, norm_groups: int) -> Any:
    """Return ModelScope's temporal transformer, diffusers' own; its last projection starts at zero, to add nothing."""
    transformer = TransformerTemporalModel(num_heads, head_channels, in_channels=channels, norm_num_groups=norm_groups)
    nn.init.zeros_(transformer.proj_out.weight)
    nn.init.zeros_(transformer.proj_out.bias)
    return transformer
