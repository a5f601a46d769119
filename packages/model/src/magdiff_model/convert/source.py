"""Where a checkpoint is and what lies in it: folders in diffusers' layout, hub ids, weights files.

Weights are safetensors where there are any; else PyTorch's files, read with `weights_only`, so that no file can run
code. Both are memory-mapped: a tensor is read when it is copied.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from magdiff_curation.hub import loading

UNET_WEIGHTS = "diffusion_pytorch_model"
INDEX = "model_index.json"


@dataclass(frozen=True)
class SourcePipeline:
    """A pipeline in diffusers' layout."""

    folder: Path
    name: str
    """A hub id with its commit, or the folder's path."""
    index: dict[str, Any]
    """`model_index.json`: part -> [library, class]."""

    def class_of(self, part: str) -> str | None:
        """Return the part's class, or None where the pipeline has no such part."""
        listed = self.index.get(part)
        return listed[1] if isinstance(listed, list) else None

    def parts(self) -> list[str]:
        """Return the names of the parts that it has."""
        return [name for name in self.index if self.class_of(name)]


def open_pipeline(source: str, revision: str | None = None, variant: str | None = None) -> SourcePipeline:
    """Return the pipeline in a folder, or of a hub id, downloaded unless it is in the hub's cache.

    Raises:
        ValueError: it is nowhere, or is no pipeline in diffusers' layout.
    """
    folder, name = Path(source), source
    if not folder.is_dir():
        if source.count("/") != 1 or source.startswith((".", "/", "~")) or folder.exists():
            raise ValueError(
                f"{source!r} is no folder here and no hub id (owner/name): give a pipeline in diffusers' layout, or, "
                "for VidRD, its .pth file"
            )
        print(f"getting {source} from the hub, unless it is in the hub's cache", flush=True)
        with loading(source, f"where there is a network: hf download {source}; then give the folder or the id again"):
            folder = Path(DiffusionPipeline.download(source, revision=revision, variant=variant, safety_checker=None))
        name = f"{source}@{folder.name}"
    if not (folder / INDEX).is_file():
        raise ValueError(f"{source} is no pipeline in diffusers' layout: it has no {INDEX}. {_what_it_is(folder)}")
    return SourcePipeline(folder, name, read_json(folder / INDEX))


def _what_it_is(folder: Path) -> str:
    """Return advice on a folder that is no pipeline."""
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    kind = str(config.get("_class_name", config.get("model_type", "")))
    if "Motion" in kind:
        return (
            "It is AnimateDiff's motion adapter, made for Stable Diffusion 1.5, whose text width and projections are "
            "not MagDiff's; start from Stable Diffusion 2.x"
        )
    if kind:
        return f"It is a single {kind}; give the whole pipeline's folder"
    if files := sorted(path.name for path in folder.iterdir() if path.suffix in (".pth", ".ckpt")):
        return f"If {files[0]} is VidRD's, give the file itself"
    return "Give the folder above unet/, vae/, text_encoder/"


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file's object.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path} ({error}); get the checkpoint again") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object; get the checkpoint again")
    return value


def weight_files(folder: Path, variant: str | None = None, stem: str = UNET_WEIGHTS) -> list[Path]:
    """Return the files that hold a part's weights: safetensors before PyTorch's, one before several.

    Raises:
        ValueError: there are none.
    """
    dot = f".{variant}" if variant else ""
    stems = (stem, "pytorch_model") if stem == "model" else (stem,)
    for suffix, name in ((suffix, name) for suffix in ("safetensors", "bin") for name in stems):
        if (single := folder / f"{name}{dot}.{suffix}").is_file():
            return [single]
        if (index := folder / f"{name}.{suffix}.index{dot}.json").is_file():
            return [folder / file for file in sorted(set(read_json(index)["weight_map"].values()))]
    others = sorted(path.name for path in folder.glob("*") if path.suffix in (".safetensors", ".bin"))
    advice = f"it has {', '.join(others)}: choose by --variant" if others else "get the checkpoint again"
    raise ValueError(f"{folder} has no {stem}{dot}.safetensors and no {stem}{dot}.bin; {advice}")


def read_tensors(files: list[Path]) -> dict[str, Tensor]:
    """Return the tensors of weights files by name.

    Raises:
        ValueError: a file is broken, or holds other things than tensors.
    """
    tensors: dict[str, Tensor] = {}
    for file in files:
        content = read_file(file)
        other = [name for name, value in content.items() if not isinstance(value, Tensor)]
        if other:
            raise ValueError(f"{file} holds other things than tensors: {', '.join(other[:5])}")
        tensors.update(content)
    return tensors


def read_file(file: Path) -> dict[str, Any]:
    """Return what one .safetensors, .bin, .pth, .pt or .ckpt file holds.

    Raises:
        ValueError: it cannot be read, or not without running its code.
    """
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        content = _load_torch(file)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file} holds Python objects beside its weights, and reading those can run code ({_line(error)}); "
            "save its tensors alone, in a place that may run its code: torch.save({'state_dict': "
            "torch.load(file, weights_only=False)['state_dict']}, new_file)"
        ) from error
    except (OSError, RuntimeError, EOFError, SafetensorError) as error:
        raise ValueError(f"cannot read {file} ({_line(error)}); get it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no table of weights by name, but a {type(content).__name__}")
    return content


def _load_torch(file: Path) -> Any:
    mapped = zipfile.is_zipfile(file)  # not so before PyTorch 1.6
    return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
