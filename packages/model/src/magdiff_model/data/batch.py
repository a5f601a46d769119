"""What a micro-batch holds: clips as bytes, or what the frozen encoders made of them beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B samples; K subject pictures lie in the B x F slots that `filled` marks, in its order."""

    keys: list[str]
    captions: list[str]
    """Dropped ones are empty."""
    frames: Tensor
    """uint8 [B, F, S, S, 3]; `framing.unit` gives what networks take."""
    filled: Tensor
    """bool [B, F]."""
    pyramid: tuple[Tensor, ...]
    """uint8 [K, s_i, s_i, 4], the fourth channel the mask."""
    clip_pictures: Tensor
    """The first frame's subject for APA, uint8 [B, 1, c, c, 4]; with `multi_slot` one a frame, [B, F, c, c, 4]."""
    noise: Tensor
    """float32 [B, 4, F, h, w]."""
    timesteps: Tensor
    """int64 [B]."""
    masks: Tensor | None = None
    """With `frame_masks` the subject in every frame, bool [B, F, S, S]."""
    skipped: list[str] = field(default_factory=list)
    """Damaged samples that others stand for, each "key: reason"."""


@dataclass(frozen=True)
class LatentBatch:
    """B samples, encoded; K subjects lie in the B x F slots that `filled` marks, in its order."""

    keys: list[str]
    latents: Tensor
    """[B, 4, F, h, w], scaled to unit variance."""
    filled: Tensor
    """bool [B, F]."""
    pyramid: tuple[Tensor, ...]
    """HFA's latents, [K, 4, h_i, w_i] a scale."""
    clip_states: Tensor
    """CLIP's last states of the subject, [B, 1, M, E], or [B, F, M, E] with `multi_slot`."""
    text: Tensor
    """The text encoder's last states, [B, L, D]; the empty prompt's where it is dropped."""
    blank: tuple[Tensor, ...]
    """The latents of a fully masked picture, [1, 4, h_i, w_i] a scale and sample."""
    noise: Tensor
    """float32 [B, 4, F, h, w]."""
    timesteps: Tensor
    """int64 [B]."""
    skipped: list[str] = field(default_factory=list)
    """Damaged samples that others stand for, each "key: reason"."""


AnyBatch = TypeVar("AnyBatch", Batch, LatentBatch)


def collate(parts: Sequence[AnyBatch]) -> AnyBatch:
    """Return batches joined to one."""
    kind = type(parts[0])
    return kind(**{entry.name: _joined([getattr(part, entry.name) for part in parts]) for entry in fields(kind)})


def _joined(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, list):
        return [entry for value in values for entry in value]
    if isinstance(first, tuple):
        return tuple(torch.cat(scale) for scale in zip(*values, strict=True))
    return None if first is None else torch.cat(values)
