"""What cross-attention gives to words: recorded by hooks, while a video is sampled as ever.

A word's map is the part of each position's attention to the text that goes to the word: softmax(Q K1'/sqrt d) summed
over the word's tokens, averaged over heads, denoising steps and layers. It is the raw softmax; alpha_text, one number
a layer, weighs what it brings, and changes no map by itself. Attention as the model computes it never holds these
probabilities, so a hook before each layer computes them once more, for the branch of guidance that sees prompt and
subject alone; it keeps [F, h, w] a word and layer, and leaves the video as it is, bit for bit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from magdiff_model.models.apa import AdaptivePromptsAttention


def word_weights(tokenizer: Any, prompt: str, words: Sequence[str]) -> Tensor:
    """Return the weight of each of the prompt's tokens in each word's map, float32 [L, W].

    A word's tokens are summed; where the word occurs several times, the occurrences are averaged. Case does not count.

    Raises:
        ValueError: a word is not in the prompt, or only beyond the tokens that the text encoder sees.
    """
    encoded = tokenizer(prompt, padding="max_length", truncation=True, return_offsets_mapping=True)
    spans = encoded["offset_mapping"]
    weights = torch.zeros(len(spans), len(words))
    for column, word in enumerate(words):
        found = [match.span() for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", prompt, re.IGNORECASE)]
        if not found or not word:
            known = ", ".join(dict.fromkeys(re.findall(r"\w+", prompt)))
            raise ValueError(f"{word!r} is not in the prompt; its words: {known}")
        occurrences = [
            [place for place, (start, stop) in enumerate(spans) if max(start, first) < min(stop, last)]
            for first, last in found
        ]
        seen = [places for places in occurrences if places]
        if not seen:
            raise ValueError(f"{word!r} lies beyond the {len(spans)} tokens that the text encoder sees of the prompt")
        for places in seen:
            weights[places, column] += 1 / len(seen)
    return weights


@dataclass(frozen=True)
class AttentionRecord:
    """Sums of what a sampling's layers have given to each word."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    """Layer's name -> [F, N, W]."""
    steps: dict[str, int] = field(default_factory=dict)
    """Layer's name -> how often it was heard."""

    def maps(self) -> dict[str, Tensor]:
        """Return each layer's maps, float32 [W, F, h, w] on the CPU; frames are square."""
        return {name: _as_pictures(total.cpu() / self.steps[name]) for name, total in self.sums.items()}

    def heat_maps(self, size_px: int, resolutions: Sequence[int] = ()) -> Tensor:
        """Return the mean of the layers' maps, each brought to the frames' size first, float32 [W, F, S, S].

        Layers of other sides than `resolutions` are left out; none given means all.
        """
        layers = [layer for layer in self.maps().values() if not resolutions or layer.shape[-1] in resolutions]
        assert layers, "no call of the denoiser had the prompt's and the subject's tokens"
        size = (size_px, size_px)
        return torch.stack([functional.interpolate(layer, size, mode="bilinear") for layer in layers]).mean(dim=0)


@contextmanager
def record_attention(unet: nn.Module, text: Tensor, image: Tensor, weights: Tensor) -> Iterator[AttentionRecord]:
    """Yield a record of what each APA layer gives to words while the block runs.

    Only samples with exactly these tokens are heard: of guidance's branches, the one with prompt and subject.

    Args:
        unet: any module with APA layers in it.
        text: the prompt's tokens, [1, 1, L, D].
        image: the subject's tokens, [1, 1 or F, M, D].
        weights: from `word_weights`, [L, W].
    """
    record = AttentionRecord()

    @torch.no_grad()
    def hear(name: str, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        assert isinstance(layer, AdaptivePromptsAttention)
        given = dict(zip(("hidden", "text", "image"), args, strict=False)) | kwargs
        texts, images = given["text"].tokens, given["image"].tokens
        ours = [_equal(texts[row], text[0]) and _equal(images[row], image[0]) for row in range(len(texts))]
        if any(ours):
            shares = word_attention(layer, given["hidden"][ours], texts[ours], weights).mean(dim=0)
            record.sums[name] = record.sums.get(name, 0) + shares
            record.steps[name] = record.steps.get(name, 0) + 1

    layers = {name: module for name, module in unet.named_modules() if isinstance(module, AdaptivePromptsAttention)}
    hooks = [layer.register_forward_pre_hook(partial(hear, name), with_kwargs=True) for name, layer in layers.items()]
    try:
        yield record
    finally:
        for hook in hooks:
            hook.remove()


def word_attention(layer: AdaptivePromptsAttention, hidden: Tensor, text: Tensor, weights: Tensor) -> Tensor:
    """Return softmax(Q K1'/sqrt d), averaged over heads and weighed by `weights`, float32 [B, F, N, W].

    Args:
        layer: whose projections are taken.
        hidden: its queries' input, [B, F, N, C].
        text: text tokens, [B, 1, L, D].
        weights: of each token, [L, W].
    """
    query, key = (
        tensor.unflatten(-1, (layer.num_heads, -1)).transpose(-2, -3).float()
        for tensor in (layer.to_q(hidden), layer.text_keys_values(text)[0])
    )
    with torch.autocast(hidden.device.type, enabled=False):
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])  # [B, F, heads, N, L]
        return scores.softmax(dim=-1).mean(dim=2) @ weights


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first, second)


def _as_pictures(shares: Tensor) -> Tensor:
    """Return [W, F, h, w] of [F, N, W], square."""
    side = math.isqrt(shares.shape[1])
    assert side * side == shares.shape[1], "the pipeline's frames are square"
    return shares.permute(2, 0, 1).unflatten(-1, (side, side))
