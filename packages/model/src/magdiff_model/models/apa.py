"""Adaptive Prompts Alignment: one cross-attention over two prompts, weighed by two learnable numbers (Section 3.2).

    Attention = alpha_text * softmax(Q K1' / sqrt(d)) V1 + alpha_image * softmax(Q K2' / sqrt(d)) V2        (Eq. 4)

K1, V1 come from the text and K2, V2 from the subject image; both share Q, and both are merged before the output
projection. Fixed Prompts Alignment (Eq. 3) holds both numbers at 1, and writes a query for each (`own_query`). The
paper's text calls alpha_1 the visual weight while Eq. 4 multiplies the text with it; names settle it here.

A video's frames share their text, so its keys and values are projected once a video, and the frames are folded
into the query's length. They do not depend on the noise either: `Prompt` carries them through all denoising steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

ApaMode = Literal["adaptive", "fixed", "fpa", "text_only"]
APA_MODES: tuple[ApaMode, ...] = ("adaptive", "fixed", "fpa", "text_only")
KeysValues = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Prompt:
    """The tokens of a text or of the subject's pictures, and what layers have made of them."""

    tokens: Tensor
    """[B, G, L, D]: G is 1 where the frames share them, else F."""
    keys_values: Mapping[str, KeysValues] = field(default_factory=dict)
    """Layer's name -> its keys and values, [B, G, L, C] each; layers that are not named here project anew."""

    def frames(self, start: int, stop: int) -> Prompt:
        """Return what the frames from `start` to `stop` see."""
        if self.tokens.shape[1] == 1:
            return self
        cut = {name: (keys[:, start:stop], values[:, start:stop]) for name, (keys, values) in self.keys_values.items()}
        return Prompt(self.tokens[:, start:stop], cut)


class AdaptivePromptsAttention(nn.Module):
    """Cross-attention from C channels to text tokens and, unless `text_only`, image tokens of D channels.

    Args:
        channels: C, of the queries and the output.
        context_channels: D, of both kinds of tokens.
        head_channels: channels of one attention head.
        mode: "adaptive" learns both weights; "fixed" holds them at `alpha` (Table 7); "fpa" holds them at 1
            (Eq. 3); "text_only" has no image branch at all.
        alpha: where (alpha_text, alpha_image) start, or stay.
        own_query: give the image branch a query projection of its own, as Eq. 3 writes it; Eq. 4 shares the text's.
    """

    def __init__(
        self,
        channels: int,
        context_channels: int,
        head_channels: int,
        mode: ApaMode = "adaptive",
        alpha: tuple[float, float] = (1.0, 1.0),
        own_query: bool = False,
    ) -> None:
        super().__init__()
        self.name = ""  # its place in the UNet, by which prompts carry its keys and values
        self.num_heads = channels // head_channels
        self.mode = mode
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context_channels, channels, bias=False)
        self.to_v = nn.Linear(context_channels, channels, bias=False)
        # A list, because Stable Diffusion's checkpoints call it to_out.0 (their to_out.1 was a dropout).
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        if mode == "text_only":
            return
        self.to_q_image = nn.Linear(channels, channels, bias=False) if own_query else None
        self.to_k_image = nn.Linear(context_channels, channels, bias=False)
        self.to_v_image = nn.Linear(context_channels, channels, bias=False)
        start = (1.0, 1.0) if mode == "fpa" else alpha
        learnt = mode == "adaptive"
        self.alpha_text = nn.Parameter(torch.full((1,), start[0]), requires_grad=learnt)  # FSDP2 takes no scalars
        self.alpha_image = nn.Parameter(torch.full((1,), start[1]), requires_grad=learnt)

    def text_keys_values(self, tokens: Tensor) -> KeysValues:
        """Return K1 and V1, [B, G, L, C], of text tokens [B, G, L, D]."""
        return self.to_k(tokens), self.to_v(tokens)

    def image_keys_values(self, tokens: Tensor) -> KeysValues:
        """Return K2 and V2, [B, G, M, C], of image tokens [B, G, M, D]."""
        return self.to_k_image(tokens), self.to_v_image(tokens)

    def forward(self, hidden: Tensor, text: Prompt, image: Prompt | None) -> Tensor:
        """Return the attention's output, [B, F, N, C], for queries [B, F, N, C].

        The text is shared by the frames (G = 1); the image is too (generation) or differs by frame (editing).
        """
        query = self.to_q(hidden)
        merged = self._attend(query, *(text.keys_values.get(self.name) or self.text_keys_values(text.tokens)))
        if self.mode != "text_only":
            assert image is not None, "the UNet checks that image tokens come with every mode but text_only"
            if self.to_q_image is not None:
                query = self.to_q_image(hidden)
            seen = self._attend(query, *(image.keys_values.get(self.name) or self.image_keys_values(image.tokens)))
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
