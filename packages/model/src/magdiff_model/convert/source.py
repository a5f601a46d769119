"""Where a checkpoint is: folders in diffusers' layout, and hub ids."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline

from magdiff_curation.hub import loading
from magdiff_model.convert.single_file import to_folder

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
        return listed[1] if isinstance(listed, list) and len(listed) == 2 else None

    def parts(self) -> list[str]:
        """Return the names of the parts that it has."""
        return [name for name in self.index if self.class_of(name)]


def open_pipeline(source: str, revision: str | None = None, variant: str | None = None) -> SourcePipeline:
    """Return the pipeline in a folder, or of a hub id, downloaded unless it is in the hub's cache.

    Raises:
        ValueError: it is nowhere, is no pipeline in diffusers' layout, or is a folder, which has no revision.
    """
    folder, name = Path(source), source
    if folder.is_dir() and revision is not None:
        raise ValueError(f"--revision {revision} goes with a hub id, and {source} is a folder here: leave it out")
    if not folder.is_dir():
        if not is_hub_id(source):
            raise ValueError(
                f"{source!r} is no folder here and no hub id (owner/name): give a pipeline in diffusers' layout, or, "
                "for VidRD, its .pth file"
            )
        print(f"getting {source} from the hub, unless it is in the hub's cache", flush=True)
        with loading(
            source,
            f"there is no folder {source} here; if a hub id is meant, where there is a network: hf download {source}; "
            "then give the folder or the id again",
        ):
            folder = Path(DiffusionPipeline.download(source, revision=revision, variant=variant, safety_checker=None))
        name = f"{source}@{folder.name}"
    if not (folder / INDEX).is_file():
        raise ValueError(f"{source} is no pipeline in diffusers' layout: it has no {INDEX}. {_what_it_is(folder)}")
    return SourcePipeline(folder, name, read_json(folder / INDEX))


def is_hub_id(place: str) -> bool:
    """Return whether it has the form of a hub id and is nothing here."""
    return place.count("/") == 1 and not place.startswith((".", "/", "~")) and not Path(place).exists()


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
    files = sorted(path for path in folder.iterdir() if path.suffix in (".pth", ".ckpt", ".safetensors"))
    if files and files[0].suffix == ".pth":
        return f"If {files[0].name} is VidRD's, give the file itself"
    if files:
        return (
            f"If {files[0].name} is Stable Diffusion 2.x in a single file, in its original (LDM) layout, "
            f"{to_folder(files[0])}"
        )
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
