"""The transformer of one UNet level: self-attention, APA, temporal attention, feed-forward (Fig. D).

Key names are those of diffusers' Transformer2DModel with linear projections, so that Stable Diffusion 2.x and
ModelScope weights fit; `temporal` is the only newcomer, and `temporal_layout="modelscope"` leaves it out.
"""

from __future__ import annotations

from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from magdiff_model.models.apa import AdaptivePromptsAttention, ApaMode, Prompt
from magdiff_model.models.temporal import PositionCode, TemporalAttention


class MagDiffTransformerBlock(nn.Module):
    """One block over [B, F, N, C]."""

    def __init__(
        self,
        channels: int,
        context_channels: int,
        head_channels: int,
        apa_mode: ApaMode,
        apa_alpha: tuple[float, float],
        apa_own_query: bool,
        position_code: PositionCode | None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, heads=channels // head_channels, dim_head=head_channels)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = AdaptivePromptsAttention(
            channels, context_channels, head_channels, apa_mode, apa_alpha, apa_own_query
        )
        self.temporal = TemporalAttention(channels, head_channels, position_code) if position_code else None
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, hidden: Tensor, text: Prompt, image: Prompt | None) -> Tensor:
        """Return the block's output, [B, F, N, C]; prompts as in `AdaptivePromptsAttention`."""
        hidden = hidden + self.attn1(self.norm1(hidden).flatten(0, 1)).view_as(hidden)
        hidden = hidden + self.attn2(self.norm2(hidden), text, image)
        if self.temporal is not None:
            hidden = self.temporal(hidden)
        output: Tensor = hidden + self.ff(self.norm3(hidden))
        return output


class MagDiffTransformer(nn.Module):
    """GroupNorm, projection, one block, projection, and the input added back: [B*F, C, H, W] -> the same."""

    def __init__(
        self,
        channels: int,
        context_channels: int,
        head_channels: int,
        norm_groups: int,
        apa_mode: ApaMode,
        apa_alpha: tuple[float, float],
        apa_own_query: bool,
        position_code: PositionCode | None,
    ) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        block = MagDiffTransformerBlock(
            channels, context_channels, head_channels, apa_mode, apa_alpha, apa_own_query, position_code
        )
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, hidden: Tensor, text: Prompt, image: Prompt | None, num_frames: int) -> Tensor:
        """Return the transformed features."""
        _, channels, height, width = hidden.shape
        tokens = self.norm(hidden).permute(0, 2, 3, 1).reshape(-1, num_frames, height * width, channels)
        tokens = self.proj_in(tokens)
        for block in self.transformer_blocks:
            tokens = block(tokens, text, image)
        tokens = self.proj_out(tokens).reshape(-1, height, width, channels)
        return hidden + tokens.permute(0, 3, 1, 2)
