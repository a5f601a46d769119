"""Image tokens for APA, from CLIP's last hidden states; the paper does not say which.

"patches" takes all of them through LayerNorm and a projection, "pooled" the class token alone, and "resampler" asks
them with a few learnt queries (IP-Adapter Plus's, from diffusers).
"""

from __future__ import annotations

from typing import Literal

from diffusers.models.embeddings import IPAdapterPlusImageProjection
from torch import Tensor, nn

ImagePromptKind = Literal["patches", "resampler", "pooled"]
IMAGE_PROMPT_KINDS: tuple[ImagePromptKind, ...] = ("patches", "resampler", "pooled")
_HEAD_CHANNELS = 64


class ImageTokens(nn.Module):
    """CLIP hidden states [..., M, E] -> tokens [..., M', D]: M' is M, 1 for "pooled", the queries for "resampler"."""

    def __init__(
        self,
        clip_channels: int,
        context_channels: int,
        kind: ImagePromptKind = "patches",
        num_queries: int = 16,
    ) -> None:
        super().__init__()
        self.kind = kind
        if kind == "resampler":
            self.resampler = IPAdapterPlusImageProjection(
                clip_channels,
                context_channels,
                context_channels,
                dim_head=min(_HEAD_CHANNELS, context_channels),
                heads=max(1, context_channels // _HEAD_CHANNELS),
                num_queries=num_queries,
            )
            return
        self.norm = nn.LayerNorm(clip_channels)
        self.proj = nn.Linear(clip_channels, context_channels)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the tokens."""
        if self.kind == "resampler":
            tokens: Tensor = self.resampler(hidden_states.flatten(0, -3))
            return tokens.unflatten(0, hidden_states.shape[:-2])
        if self.kind == "pooled":
            hidden_states = hidden_states[..., :1, :]
        projected: Tensor = self.proj(self.norm(hidden_states))
        return projected
