"""Pipelines on disk, in diffusers' layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from magdiff_model.pipeline import MagDiffPipeline


def read_index(folder: Path) -> dict[str, Any]:
    """Return a pipeline's `model_index.json`.

    Raises:
        ValueError: the folder is not there, or is not a MagDiff pipeline.
    """
    path = folder / "model_index.json"
    remedy = (
        "the repository's toyworld base is zoo/toyworld; magdiff_model.train writes others, magdiff_model.convert "
        "makes them of Stable Diffusion 2.x or ModelScope"
    )
    if not path.is_file():
        raise ValueError(f"{folder} is no pipeline: it has no model_index.json; {remedy}")
    index: dict[str, Any] = json.loads(path.read_bytes())
    if index.get("_class_name") != MagDiffPipeline.__name__:
        raise ValueError(f"{folder} is a {index.get('_class_name')}, not a {MagDiffPipeline.__name__}; {remedy}")
    return index


def load_pipeline(path: str | Path) -> MagDiffPipeline:
    """Return the pipeline of a folder in fp32.

    Raises:
        ValueError: the folder is not there, or is not a MagDiff pipeline.
    """
    folder = Path(path)
    read_index(folder)
    quiet_loading()
    pipeline = MagDiffPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.image_encoder):
        part.eval()
    return pipeline


def quiet_loading() -> None:
    """Switch off the bars that diffusers and transformers draw for every small file."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def save_pipeline(pipeline: MagDiffPipeline, folder: Path) -> None:
    """Write the pipeline's parts as safetensors with their configs; `from_pretrained` reads it back."""
    pipeline.save_pretrained(folder, safe_serialization=True)
