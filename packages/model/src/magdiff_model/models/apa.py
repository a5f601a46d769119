"""Adaptive Prompts Alignment: one cross-attention over two prompts, weighed by two learnable numbers (Section 3.2).

    Attention = alpha_text * softmax(Q K1' / sqrt(d)) V1 + alpha_image * softmax(Q K2' / sqrt(d)) V2        (Eq. 4)

K1, V1 come from the text and K2, V2 from the subject image; both share Q, and both are merged before the output
projection. Fixed Prompts Alignment (Eq. 3) is the same with both numbers held at 1. The paper's text calls alpha_1
the visual weight while Eq. 4 multiplies the text with it; names settle it here.

A video's frames share their text, so its keys and values are projected once a video, and the frames are folded
into the query's length.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

ApaMode = Literal["adaptive", "fixed", "fpa", "text_only"]
APA_MODES: tuple[ApaMode, ...] = ("adaptive", "fixed", "fpa", "text_only")


class AdaptivePromptsAttention(nn.Module):
    """Cross-attention from C channels to text tokens and, unless `text_only`, image tokens of D channels.

    Args:
        channels: C, of the queries and the output.
        context_channels: D, of both kinds of tokens.
        head_channels: channels of one attention head.
        mode: "adaptive" learns both weights; "fixed" holds them at `alpha` (Table 7); "fpa" holds them at 1
            (Eq. 3); "text_only" has no image branch at all.
        alpha: where (alpha_text, alpha_image) start, or stay.
    """

    def __init__(
        self,
        channels: int,
        context_channels: int,
        head_channels: int,
        mode: ApaMode = "adaptive",
        alpha: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        super().__init__()
        self.num_heads = channels // head_channels
        self.mode = mode
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context_channels, channels, bias=False)
        self.to_v = nn.Linear(context_channels, channels, bias=False)
        # A list, because Stable Diffusion's checkpoints call it to_out.0 (their to_out.1 was a dropout).
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        if mode == "text_only":
            return
        self.to_k_image = nn.Linear(context_channels, channels, bias=False)
        self.to_v_image = nn.Linear(context_channels, channels, bias=False)
        start = (1.0, 1.0) if mode == "fpa" else alpha
        learnt = mode == "adaptive"
        self.alpha_text = nn.Parameter(torch.tensor(start[0]), requires_grad=learnt)
        self.alpha_image = nn.Parameter(torch.tensor(start[1]), requires_grad=learnt)

    def forward(self, hidden: Tensor, text: Tensor, image: Tensor | None) -> Tensor:
        """Return the attention's output, [B, F, N, C].

        Args:
            hidden: queries, [B, F, N, C].
            text: text tokens, [B, L, D], shared by the frames.
            image: image tokens, [B, 1, M, D] shared by the frames or [B, F, M, D] one set a frame (editing).
        """
        query = self.to_q(hidden)
        merged = self._attend(query, self.to_k(text)[:, None], self.to_v(text)[:, None])
        if self.mode != "text_only":
            assert image is not None, "the UNet checks that image tokens come with every mode but text_only"
            seen = self._attend(query, self.to_k_image(image), self.to_v_image(image))
            merged = self.alpha_text * merged + self.alpha_image * seen
        output: Tensor = self.to_out[0](merged)
        return output

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return softmax(QK'/sqrt(d))V, [B, F, N, C], for keys and values [B, 1 or F, M, C]."""
        batch, frames, length, channels = query.shape
        groups = key.shape[1]  # 1: all frames look at the same tokens; F: each at its own

        def split(tensor: Tensor) -> Tensor:
            return tensor.reshape(batch * groups, -1, self.num_heads, channels // self.num_heads).transpose(1, 2)

        attended = functional.scaled_dot_product_attention(split(query), split(key), split(value))
        return attended.transpose(1, 2).reshape(batch, frames, length, channels)
