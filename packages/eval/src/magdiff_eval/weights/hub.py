"""CLIP, PickScore and DINO from folders in transformers' layout, checked and stamped; and the zoo's CLIP."""

from __future__ import annotations

from pathlib import Path

from magdiff_curation.clips.atomic import sha256_of_file
from magdiff_eval.models.clip import Clip, clip_of_folder, clip_of_pipeline
from magdiff_eval.models.dino import Dino, dino_of_folder
from magdiff_eval.weights.load import hub_folder
from magdiff_eval.weights.stamps import Stamp, stamped

ZOO = Path("zoo/toyworld")
"""Where toyworld's base model is, seen from the repository."""
_ENCODERS = ("text_encoder", "image_encoder")


def load_clip(metric: str, folder: Path, *, unchecked: bool = False) -> Clip:
    """Return CLIP, in evaluation mode on the CPU, float32.

    Args:
        metric: clip-l14, clip-b32 or pickscore.
        folder: the weights folder.
        unchecked: take weights that are not the published ones.

    Raises:
        ValueError: files that are missing, differ from the published, or lack tensors.
    """
    path, stamp = hub_folder(metric, folder, unchecked=unchecked)
    return stamped(clip_of_folder(path), stamp)


def load_dino(folder: Path, *, unchecked: bool = False) -> Dino:
    """Return DINO's ViT-S/16, in evaluation mode on the CPU, float32; arguments and errors as `load_clip`."""
    path, stamp = hub_folder("dino", folder, unchecked=unchecked)
    return stamped(dino_of_folder(path), stamp)


def load_toyworld_clip(folder: Path = ZOO) -> Clip:
    """Return the CLIP of toyworld's base model.

    Raises:
        ValueError: it is not in the folder.
    """
    files = [folder / encoder / "model.safetensors" for encoder in _ENCODERS]
    if missing := [path for path in files if not path.is_file()]:
        raise ValueError(f"there is no {missing[0]}: run in the repository, whose zoo has it")
    text, image = (
        Stamp(file=f"{encoder}/{path.name}", sha256=sha256_of_file(path), format="safetensors", checked="nothing")
        for encoder, path in zip(_ENCODERS, files, strict=True)
    )
    stamp = Stamp(file=image.file, sha256=image.sha256, format=image.format, checked=image.checked, beside=(text,))
    return stamped(clip_of_pipeline(folder), stamp)
