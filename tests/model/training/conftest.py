"""A base so small that a step takes a moment."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL
from tests_support import ZOO

from magdiff_model.checkpoints import load_pipeline, save_pipeline
from magdiff_model.models.unet import MagDiffUNet3DConditionModel


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The zoo's base with 16 px frames, a random VAE and UNet, and one layer of each CLIP; latents are 8 x 8."""
    torch.manual_seed(3)
    pipeline = load_pipeline(ZOO)
    like = pipeline.unet.config
    pipeline.register_modules(
        unet=MagDiffUNet3DConditionModel(
            block_out_channels=(16, 16),
            attention_levels=(False, True),
            layers_per_block=1,
            cross_attention_dim=like.cross_attention_dim,
            attention_head_dim=8,
            norm_num_groups=4,
            temporal_dropout=0.0,
            apa_mode="text_only",
            hfa_scales=0,
        ),
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            norm_num_groups=4,
            mid_block_add_attention=False,
            scaling_factor=1.0,
        ),
    )
    text, image = pipeline.text_encoder, pipeline.image_encoder
    for encoder, layers in ((text, text.text_model.encoder.layers), (image, image.vision_model.encoder.layers)):
        del layers[1:]
        encoder.config.num_hidden_layers = len(layers)
    pipeline.register_to_config(size_px=16)
    folder = tmp_path_factory.mktemp("tiny")
    save_pipeline(pipeline, folder)
    return str(folder)
