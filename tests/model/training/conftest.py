"""A base so small that a step takes a moment, and the training command in processes of its own."""

from __future__ import annotations

import pytest
import torch
from tests_support import ZOO

from magdiff_model.checkpoints import load_pipeline, save_pipeline
from magdiff_model.models.unet import MagDiffUNet3DConditionModel


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The zoo's base with 32 px frames and a UNet of random weights."""
    torch.manual_seed(3)
    pipeline = load_pipeline(ZOO)
    like = pipeline.unet.config
    pipeline.register_modules(
        unet=MagDiffUNet3DConditionModel(
            block_out_channels=(32, 32),
            attention_levels=(False, True),
            layers_per_block=1,
            cross_attention_dim=like.cross_attention_dim,
            attention_head_dim=16,
            norm_num_groups=8,
            temporal_dropout=0.0,
            apa_mode="text_only",
            hfa_scales=0,
        )
    )
    pipeline.register_to_config(size_px=32)
    folder = tmp_path_factory.mktemp("tiny")
    save_pipeline(pipeline, folder)
    return str(folder)
