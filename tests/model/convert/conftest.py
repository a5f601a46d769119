"""Tiny checkpoints of the real classes, as people would download them, only small and random."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    TextToVideoSDPipeline,
    UNet2DConditionModel,
    UNet3DConditionModel,
)
from torch import nn
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from magdiff_model.convert.__main__ import Convert, convert

WIDTHS, TEXT_WIDTH, HEAD = (32, 64), 24, 16


def fill(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.08
    return model


def unet_2d() -> UNet2DConditionModel:
    settings = {
        "block_out_channels": WIDTHS,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "norm_num_groups": 8,
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": (2, 4),  # diffusers' name for the number of heads
        "use_linear_projection": True,
    }
    return fill(UNet2DConditionModel(**settings)).eval()


def unet_3d() -> UNet3DConditionModel:
    settings = {
        "block_out_channels": WIDTHS,
        "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
        "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
        "norm_num_groups": 8,
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": HEAD,
    }
    return fill(UNet3DConditionModel(**settings)).eval()


def tokenizer() -> CLIPTokenizer:
    letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = [chr(letter) for letter in letters] + [chr(256 + number) for number in range(256 - len(letters))]
    names = ["<|startoftext|>", "<|endoftext|>", *spelled, *(f"{letter}</w>" for letter in spelled)]
    return CLIPTokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[], model_max_length=16)


def text_encoder() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=514, hidden_size=TEXT_WIDTH, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    torch.manual_seed(4)
    return CLIPTextModel(config).eval()


def vae() -> AutoencoderKL:
    torch.manual_seed(5)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, **blocks).eval()


STABLE_DIFFUSION_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both of them, made once."""
    folder = tmp_path_factory.mktemp("published")
    scheduler = PNDMScheduler(**STABLE_DIFFUSION_NOISE, skip_prk_steps=True, steps_offset=1)
    StableDiffusionPipeline(
        vae(), text_encoder(), tokenizer(), unet_2d(), scheduler, None, None, requires_safety_checker=False
    ).save_pretrained(folder / "sd")
    scheduler = DDIMScheduler(**STABLE_DIFFUSION_NOISE, clip_sample=False)
    TextToVideoSDPipeline(vae(), text_encoder(), tokenizer(), unet_3d(), scheduler).save_pretrained(folder / "ms")
    return folder


@pytest.fixture
def stable_diffusion(published: Path, tmp_path: Path) -> Path:
    """Return Stable Diffusion 2.x at toy size, to change at will."""
    return shutil.copytree(published / "sd", tmp_path / "sd")


@pytest.fixture
def modelscope(published: Path, tmp_path: Path) -> Path:
    """Return ModelScope's text-to-video at toy size, to change at will."""
    return shutil.copytree(published / "ms", tmp_path / "ms")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an image encoder with its processor, in transformers' layout."""
    folder = tmp_path_factory.mktemp("clip")
    config = CLIPVisionConfig(
        hidden_size=20, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2, image_size=16, patch_size=8
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    CLIPImageProcessorPil(size=size, crop_size=size).save_pretrained(folder)
    return folder


@pytest.fixture
def run(clip: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return the command, with what suits toy sizes."""

    def command(source: Path | str, **changes: object) -> Path:
        settings = {"image_encoder": str(clip), "head_channels": HEAD, "size_px": 16, "num_frames": 5} | changes
        output = Path(settings.pop("output", tmp_path / "converted"))
        convert(Convert(source=str(source), output=output, **settings))
        return output

    return command


@pytest.fixture
def change() -> Callable[..., None]:
    """Return a way to change a JSON file; None removes a key."""

    def edit(path: Path, **changes: object) -> None:
        value = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({name: entry for name, entry in value.items() if entry is not None}))

    return edit


@pytest.fixture
def noisy() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return (
        torch.randn(2, 4, 5, 10, 10, generator=generator),
        torch.tensor([10, 500]),
        torch.randn(2, 7, TEXT_WIDTH, generator=generator),
    )
