"""What training leaves on disk: the pipeline in diffusers' layout, and the state that a stopped run goes on from."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from magdiff_curation.clips.atomic import canonical_json, sha256_hex, sha256_of_file, write_atomic
from magdiff_curation.clips.index import SHARD_LIST, index_path
from magdiff_model.pipeline import MagDiffPipeline

STATE = "state.pt"


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


def save_state(settings: Any, unet: Any, optimizer: Any, schedule: Any, losses: list[float]) -> None:
    """Write everything that the rest of the run depends on, as one file, whole or not at all."""
    trained = {name: value for name, value in unet.named_parameters() if value.requires_grad}
    state = {
        "settings_sha256": settings_sha256(settings),
        "unet": trained,
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "losses": losses,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(settings.output / STATE, buffer.getvalue())


def load_state(settings: Any, unet: Any, optimizer: Any, schedule: Any) -> list[float]:
    """Take up the run in `settings.output`, and return its losses so far: one a step; empty for a new run.

    Raises:
        ValueError: the run there has other settings.
    """
    path = settings.output / STATE
    if not path.is_file():
        return []
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["settings_sha256"] != settings_sha256(settings):
        raise ValueError(f"{path} is of a run with other settings: choose another --output, or delete that one")
    unet.load_state_dict(state["unet"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    losses: list[float] = state["losses"]
    return losses


def settings_sha256(settings: Any) -> str:
    """Return the hash of every setting that shapes the weights, with base and shards by what they hold.

    Where things are, how fast, and how often saved does not count.
    """
    value = dataclasses.asdict(settings)
    value["base"] = sha256_of_file(Path(settings.base) / "unet" / "diffusion_pytorch_model.safetensors")
    shards: Path = settings.shards
    value["shards"] = sha256_of_file(index_path(shards) if shards.suffix == ".tar" else shards / SHARD_LIST)
    for name in ("output", "config", "workers", "device", "save_every", "log_every", "dry_run"):
        del value[name]
    return sha256_hex(canonical_json({name: repr(entry) for name, entry in value.items()}))
