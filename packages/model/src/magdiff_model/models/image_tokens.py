"""Image tokens for APA: all of CLIP's last hidden states, normalised and projected to the text's width."""

from __future__ import annotations

from torch import Tensor, nn


class ImageTokens(nn.Module):
    """CLIP hidden states [..., M, E] -> tokens [..., M, D]."""

    def __init__(self, clip_channels: int, context_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(clip_channels)
        self.proj = nn.Linear(clip_channels, context_channels)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the tokens."""
        tokens: Tensor = self.proj(self.norm(hidden_states))
        return tokens
