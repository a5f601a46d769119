"""A UNet's config says one thing in two ways, one value or a list of equal ones; what MagDiff has not is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file

from magdiff_model.convert.config_values import one_value_each
from magdiff_model.convert.unet_config import Choices, unet_2d_settings, unet_3d_settings

LISTS = {
    "layers_per_block": [2, 2],
    "cross_attention_dim": [24, 24],
    "transformer_layers_per_block": [1, 1],
    "reverse_transformer_layers_per_block": [1, 1],
    "only_cross_attention": [False, False],
}


def test_lists_of_one_value_make_the_same_unet_as_that_value(stable_diffusion, run, change, tmp_path) -> None:
    first = run(stable_diffusion, output=tmp_path / "one")
    change(stable_diffusion / "unet" / "config.json", **LISTS)
    second = run(stable_diffusion, output=tmp_path / "lists")
    for file in ("unet/config.json", "model_index.json"):
        assert json.loads((first / file).read_text()) == json.loads((second / file).read_text())
    weights = [load_file(folder / "unet" / "diffusion_pytorch_model.safetensors") for folder in (first, second)]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)


def test_a_modelscope_config_with_lists_of_one_value_has_the_same_settings(modelscope) -> None:
    config = json.loads((modelscope / "unet" / "config.json").read_text())
    lists = {"attention_head_dim": [16, 16], "layers_per_block": [2, 2], "cross_attention_dim": [24, 24]}
    choices = Choices(head_channels=16)
    assert unet_3d_settings(config | lists, choices) == unet_3d_settings(config, choices)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers_per_block": [2, 3]}, r"layers_per_block is \[2, 3\] \(MagDiff's UNet has one value for all levels\)"),
        ({"cross_attention_dim": [24, 32]}, r"cross_attention_dim is \[24, 32\] \(MagDiff's UNet has one value"),
        ({"cross_attention_dim": [24]}, r"cross_attention_dim is \[24\] \(MagDiff's UNet has one value"),
        ({"transformer_layers_per_block": [1, 2]}, r"transformer_layers_per_block is \[1, 2\] \(MagDiff's UNet"),
        ({"transformer_layers_per_block": [2, 2]}, "transformer_layers_per_block is 2; start from"),
        ({"reverse_transformer_layers_per_block": [1, 2]}, r"reverse_transformer_layers_per_block is \[1, 2\]"),
        ({"only_cross_attention": [True, False]}, r"only_cross_attention is \[True, False\]"),
        ({"num_attention_heads": [2, 4]}, r"num_attention_heads is \[2, 4\] .*belongs under attention_head_dim"),
        ({"transformer_layers_per_block": [1, 2], "addition_embed_type": "text_time"}, "so it is SDXL"),
        ({"time_cond_proj_dim": 256}, "a latent consistency model"),
        ({"attention_head_dim": None}, "attention_head_dim is None.*unknown channels"),
        ({"attention_head_dim": ["2", "4"]}, r"attention_head_dim is \['2', '4'\].*unknown channels"),
        ({"attention_head_dim": [2, 0]}, r"attention_head_dim is \[2, 0\].*unknown channels"),
    ],
)
def test_what_magdiffs_unet_cannot_be_is_refused_with_the_reason(stable_diffusion, changes, words) -> None:
    config = json.loads((stable_diffusion / "unet" / "config.json").read_text())
    with pytest.raises(ValueError, match=words):
        unet_2d_settings(config | changes, Choices(head_channels=16))


def test_a_list_of_widths_of_heads_that_differ_is_refused_for_modelscope(modelscope) -> None:
    config = json.loads((modelscope / "unet" / "config.json").read_text())
    with pytest.raises(ValueError, match=r"attention_head_dim is \[16, 8\], not 16 channels a head"):
        unet_3d_settings(config | {"attention_head_dim": [16, 8]}, Choices(head_channels=16))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"block_out_channels": 32}, "block_out_channels is 32 in unet/config.json, which should be a list of whole"),
        ({"block_out_channels": ["32", "64"]}, "should be a list of whole numbers"),
        ({"down_block_types": "DownBlock2D"}, "should be a list of names"),
        ({"layers_per_block": None}, "layers_per_block is None in unet/config.json, which should be a whole number"),
        ({"norm_num_groups": None}, "norm_num_groups is None"),
        ({"norm_eps": "1e-5"}, "norm_eps is '1e-5' in unet/config.json, which should be a number"),
    ],
)
def test_a_value_of_another_kind_is_named(changes, words) -> None:
    with pytest.raises(ValueError, match=words):
        one_value_each(changes)


def test_a_share_of_dropout_that_is_none_is_refused(stable_diffusion, run) -> None:
    with pytest.raises(ValueError, match=r"temporal_dropout is 2.0: give a share from 0 to below 1"):
        run(stable_diffusion, temporal_dropout=2.0)
