"""What trains at full size, counted by part against diffusers' own models, in both of the paper's readings."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel
from torch import nn

from magdiff_model.alignments import NEW_MODULES, choose_trainable
from magdiff_model.models.unet import MagDiffUNet3DConditionModel

WIDTHS = (320, 640, 1280, 1280)
TEMPORAL = ("temp_convs", "temp_attentions", "temporal", "transformer_in")
NEW = 26_891_908
"""K2 and V2 of every layer, the image tokens' projection, the alphas, HFA and conv_in_cond."""


def part_of(name: str) -> str:
    parts = name.split(".")
    if set(parts) & set(NEW_MODULES):
        return "new"
    for temporal in TEMPORAL:
        if temporal in parts:
            return temporal
    if "attentions" not in parts:
        return "frozen in both"
    return next((part for part in ("attn1", "attn2") if part in parts), "rest of the transformers")


def counts(model: nn.Module, trained_only: bool = False) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, value in model.named_parameters():
        if value.requires_grad or not trained_only:
            found[part_of(name)] += value.numel()
    return found


@pytest.mark.parametrize(("reading", "left_out"), [("transformers", ()), ("attention", ("rest of the transformers",))])
@pytest.mark.parametrize("base", ["Stable Diffusion 2.1", "ModelScope"])
def test_each_reading_trains_its_parts_and_no_other(base: str, reading: str, left_out: tuple[str, ...]) -> None:
    with torch.device("meta"):
        if base == "ModelScope":
            theirs = counts(UNet3DConditionModel(block_out_channels=WIDTHS, cross_attention_dim=1024))
            ours = MagDiffUNet3DConditionModel(temporal_layout="modelscope")
        else:
            theirs = counts(
                UNet2DConditionModel(
                    block_out_channels=WIDTHS,
                    cross_attention_dim=1024,
                    attention_head_dim=[5, 10, 20, 20],
                    use_linear_projection=True,
                )
            )
            ours = MagDiffUNet3DConditionModel(temporal_layout="vidrd")
            theirs += Counter({name: counts(ours)[name] for name in ("temp_convs", "temporal")})
    choose_trainable(ours, reading)  # type: ignore[arg-type]
    wanted = theirs + Counter(new=NEW)
    for name in ("frozen in both", *left_out):
        del wanted[name]
    assert counts(ours, trained_only=True) == wanted
    assert {"new", "attn1", "attn2", "temp_convs"} <= set(wanted)
