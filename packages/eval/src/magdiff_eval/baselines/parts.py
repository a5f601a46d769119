"""The parts of a pipeline, each from its own folder: safetensors only, local only, nothing left to chance.

Parts are loaded one by one and not through model_index.json: that file names classes to import, and older ones name
some that transformers no longer has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage
from safetensors import SafetensorError
from transformers import CLIPTokenizer

from magdiff_curation.clips.masks import Image


def network(kind: Any, folder: Path) -> Any:
    """Return a network of a diffusers or transformers class in fp32, in evaluation mode on the CPU.

    Raises:
        ValueError: its file is damaged, has weights of other shapes, or lacks some, which a library would fill in at
            random.
    """
    try:
        loaded, told = kind.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, RuntimeError, SafetensorError, ValueError) as error:
        raise ValueError(f"{folder} is no {kind.__name__}: {error}; get it again") from error
    unfit = sorted(str(name) for key in ("missing_keys", "mismatched_keys") for name in told[key])
    if unfit:
        listed = ", ".join(unfit[:3]) + (f" and {len(unfit) - 3} more" if len(unfit) > 3 else "")
        raise ValueError(f"{folder} lacks {listed} of a {kind.__name__}: get it again, or another version of it")
    return loaded.eval()


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Return CLIP's tokenizer."""
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def scheduler(kind: Any, folder: Path, **changed: Any) -> Any:
    """Return a scheduler of this class with the folder's settings, but for those that are given."""
    return kind.from_pretrained(folder, local_files_only=True, **changed)


def picture(frame: Image) -> PillowImage.Image:
    """Return a frame uint8 [H, W, 3] as pipelines take it."""
    return PillowImage.fromarray(np.ascontiguousarray(frame))


def noise(seed: int) -> torch.Generator:
    """Return the source of a video's noise; on the CPU, so that it is the same on every device."""
    return torch.Generator().manual_seed(seed)
