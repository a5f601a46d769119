"""Checkpoints as the tests want them: small, with a content that follows from a number."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from magdiff_model.training.checkpoints import Checkpoint, newest_checkpoint, save_checkpoint

Tensors = dict[str, dict[str, Tensor]]


def tensors(number: int, width: int = 16) -> Tensors:
    generator = torch.Generator().manual_seed(number)
    return {
        "weights": {name: torch.randn(width, width, generator=generator) for name in ("conv.weight", "conv.bias")},
        "optimizer": {"conv.step": torch.tensor(number, dtype=torch.int64)},
    }


def save(root: Path, step: int, content: int | None = None, keep: int = 3) -> Path:
    number = step if content is None else content
    return save_checkpoint(root, step, tensors(number), {"losses": [0.5] * step, "content": number}, keep)


def newest(root: Path) -> Checkpoint:
    """Return the newest checkpoint, of which nothing may have been passed over."""
    lines: list[str] = []
    found = newest_checkpoint(root, lines.append)
    assert found is not None
    assert lines == []
    return found


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())
