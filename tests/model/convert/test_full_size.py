"""The published configs at full size, on the meta device: every key has its place, with its shape."""

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel

from magdiff_model.alignments import TEMPORAL_MODULES
from magdiff_model.convert.keys import Weights, account
from magdiff_model.convert.unet_config import Choices, unet_2d_settings, unet_3d_settings
from magdiff_model.convert.vidrd import MODULES, to_magdiff
from magdiff_model.models.unet import MagDiffUNet3DConditionModel

SHARED = {
    "act_fn": "silu",
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 1024,
    "downsample_padding": 1,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
}
STABLE_DIFFUSION = SHARED | {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.10.0.dev0",
    "attention_head_dim": [5, 10, 20, 20],
    "center_input_sample": False,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "dual_cross_attention": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "sample_size": 96,
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "upcast_attention": True,
    "use_linear_projection": True,
}
"""stable-diffusion-2-1's unet/config.json; 2-1-base's differs in sample_size 64 and upcast_attention."""
MODELSCOPE = SHARED | {
    "_class_name": "UNet3DConditionModel",
    "_diffusers_version": "0.15.0.dev0",
    "attention_head_dim": 64,
    "down_block_types": ["CrossAttnDownBlock3D"] * 3 + ["DownBlock3D"],
    "sample_size": 32,
    "up_block_types": ["UpBlock3D"] + ["CrossAttnUpBlock3D"] * 3,
}
"""text-to-video-ms-1.7b's unet/config.json."""


def weights(kind: type, config: dict, settings: dict, new: tuple[str, ...] = ()) -> Weights:
    with torch.device("meta"):
        tensors = kind.from_config(config).state_dict()
    return Weights(family="", settings=settings, tensors=tensors, files=[], new_modules=new)


def accounted(source: Weights) -> dict[tuple[str, str], tuple[int, float]]:
    """Return (status, part) -> how many keys, and millions of parameters."""
    with torch.device("meta"):
        keys = account(MagDiffUNet3DConditionModel(**source.settings), source)
    assert {key.source for key in keys if key.status == "taken"} == set(source.tensors)
    table: dict[tuple[str, str], list[int]] = {}
    for key in keys:
        for part in (key.part, "all"):
            count = table.setdefault((key.status, part), [0, 0])
            count[0] += 1
            count[1] += key.parameters
    return {name: (count, round(size / 1e6, 1)) for name, (count, size) in table.items()}


SPATIAL = {
    ("taken", "in, time, out"): (10, 2.1),
    ("taken", "resnets"): (248, 537.7),
    ("taken", "samplers"): (12, 52.5),
    ("taken", "transformers"): (416, 273.6),
}


def test_all_686_keys_of_stable_diffusion_21_are_taken() -> None:
    settings = unet_2d_settings(STABLE_DIFFUSION, Choices())
    assert accounted(weights(UNet2DConditionModel, STABLE_DIFFUSION, settings, TEMPORAL_MODULES)) == SPATIAL | {
        ("taken", "all"): (686, 865.9),
        ("new", "temporal convolutions"): (352, 266.9),
        ("new", "temporal attention"): (112, 49.6),
        ("new", "all"): (464, 316.5),
    }


def test_all_of_stable_diffusion_fits_modelscopes_layout_too() -> None:
    settings = unet_2d_settings(STABLE_DIFFUSION, Choices(temporal_layout="modelscope"))
    assert accounted(weights(UNet2DConditionModel, STABLE_DIFFUSION, settings, TEMPORAL_MODULES)) == SPATIAL | {
        ("taken", "all"): (686, 865.9),
        ("new", "temporal convolutions"): (352, 266.9),
        ("new", "temporal attention"): (442, 278.4),
        ("new", "all"): (794, 545.3),
    }


def test_all_keys_of_modelscope_are_taken() -> None:
    settings = unet_3d_settings(MODELSCOPE, Choices())
    assert accounted(weights(UNet3DConditionModel, MODELSCOPE, settings)) == SPATIAL | {
        ("taken", "temporal convolutions"): (352, 266.9),
        ("taken", "temporal attention"): (442, 278.4),
        ("taken", "all"): (1480, 1411.2),
    }


def test_vidrds_keys_are_stable_diffusions_and_the_temporal_ones() -> None:
    with torch.device("meta"):
        flat = UNet2DConditionModel.from_config(STABLE_DIFFUSION).state_dict()
        ours = MagDiffUNet3DConditionModel(**unet_2d_settings(STABLE_DIFFUSION, Choices())).state_dict()
    attention = [f"temp_attn.{name}" for name in ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight")]
    block = ["temp_norm.weight", "temp_norm.bias", *attention, "temp_attn.to_out.0.bias"]
    convolution = [f"convs.{index}.{kind}" for index in (0, 3, 4, 7, 8, 11, 12, 15) for kind in ("weight", "bias")]
    theirs = set(flat)
    for name in flat:
        if name.endswith("attn1.to_q.weight"):
            theirs |= {name.replace("attn1.to_q.weight", new) for new in block}
        if name.endswith("norm1.weight") and ".resnets." in name:
            behind = name.replace("resnets", "temp_convs").removesuffix("norm1.weight")
            theirs |= {behind + new for new in convolution}
    assert len(theirs) == 686 + 16 * 7 + 22 * 16
    assert {to_magdiff(name) for name in theirs} == set(ours)
    assert len(MODULES) == len(set(MODULES.values()))


@pytest.mark.parametrize("heads", [8, 64, [10, 20, 40, 40], [5, 10, 20]])
def test_other_head_counts_at_full_size_are_refused(heads) -> None:
    with pytest.raises(ValueError, match="not 64"):
        unet_2d_settings(STABLE_DIFFUSION | {"attention_head_dim": heads}, Choices())
