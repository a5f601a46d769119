"""What the alignments cost at full size, counted on the meta device; `bench/efficiency.py` has it part by part."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from magdiff_model.alignments import NEW_MODULES
from magdiff_model.models.unet import MagDiffUNet3DConditionModel


def step_flops(unet: MagDiffUNet3DConditionModel, shown: int) -> int:
    """Return one step's FLOP for 8 frames of 256 px and a condition that is ready."""
    with torch.device("meta"):
        sample, timestep = torch.zeros(1, 4, 8, 32, 32), torch.zeros(1)
        states = torch.zeros(1, shown, 257, 1280) if unet.config.apa_mode != "text_only" else None
        pyramid = [torch.zeros(1, 4, 8, side, side) for side in (48, 40, 32)] if unet.config.hfa_scales else None
        condition = unet.with_keys_values(unet.condition(torch.zeros(1, 77, 1024), states, pyramid, (32, 32)))
        with FlopCounterMode(display=False) as counter:
            unet(sample, timestep, condition)
    return counter.get_total_flops()


@torch.no_grad()
@pytest.mark.parametrize("layout", ["vidrd", "modelscope"])
def test_the_alignments_add_little_to_the_parameters_and_to_a_step(layout) -> None:
    with torch.device("meta"):
        unet = MagDiffUNet3DConditionModel(temporal_layout=layout).eval()
        base = MagDiffUNet3DConditionModel(temporal_layout=layout, apa_mode="text_only", hfa_scales=0).eval()
    new = sum(value.numel() for name, value in unet.named_parameters() if set(name.split(".")) & set(NEW_MODULES))
    total = sum(value.numel() for value in base.parameters())
    assert new == sum(value.numel() for value in unet.parameters()) - total
    assert 0.01 < new / total < 0.05
    plain = step_flops(base, 1)
    assert plain > 1.5e12
    for shown in (1, 8):
        assert 1 < step_flops(unet, shown) / plain < 1.05
