"""Every baseline's checkpoint at toy size: the real classes with random weights, in the layout and names of the hub.

write_all(folder)                                          # a weights folder, as load_baseline takes it
load_baseline(name, folder, device="cpu", **FAST[name])    # made in well under a second
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    I2VGenXLUNet,
    MotionAdapter,
    PNDMScheduler,
    UNet2DConditionModel,
    UNet3DConditionModel,
    UNetSpatioTemporalConditionModel,
)
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

FAST: dict[str, dict[str, Any]] = {
    "animatediff-ip-adapter": {"steps": 2, "height_px": 16, "width_px": 16, "num_frames": 4},
    "i2vgen-xl": {"steps": 2, "height_px": 16, "width_px": 32, "num_frames": 4},
    "stable-video-diffusion": {"steps": 2, "height_px": 16, "width_px": 32, "num_frames": 4},
    "instruct-pix2pix": {"steps": 2, "long_side_px": 64},
    "modelscope-t2v": {"steps": 2, "height_px": 16, "width_px": 16, "num_frames": 4},
}
"""Settings that are quick at toy size."""

WIDTH = 24  # of the text's and the images' states
UNET = {"block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8, "cross_attention_dim": WIDTH}
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}


def write_all(folder: Path) -> Path:
    """Write all five baselines into a weights folder, and return it."""
    write_animatediff(folder)
    write_i2vgen_xl(folder)
    write_stable_video(folder)
    write_instruct_pix2pix(folder)
    write_modelscope(folder)
    return folder


def write_animatediff(folder: Path) -> None:
    base = folder / "stable-diffusion-v1-5"
    unet = filled(UNet2DConditionModel(**UNET, **blocks("2D"), attention_head_dim=2, sample_size=8), 1)
    write_pipeline(base, "StableDiffusionPipeline", unet, PNDMScheduler(**without(NOISE, "clip_sample")))
    motion = MotionAdapter(
        block_out_channels=(16, 32), motion_layers_per_block=1, motion_num_attention_heads=2, motion_norm_num_groups=8
    )
    filled(motion, 2).save_pretrained(folder / "animatediff-motion-adapter-v1-5-3")
    adapter = folder / "IP-Adapter" / "models"
    write_image_encoder(adapter / "image_encoder", image_size=32, patch_size=8)
    generator = torch.Generator().manual_seed(3)
    tensors = {
        "image_proj.proj.weight": torch.randn(4 * WIDTH, WIDTH, generator=generator) / math.sqrt(WIDTH),
        "image_proj.proj.bias": torch.zeros(4 * WIDTH),
        "image_proj.norm.weight": torch.ones(WIDTH),
        "image_proj.norm.bias": torch.zeros(WIDTH),
    }
    # Numbered as the published file is: odd numbers, in the order down, up, middle.
    order = sorted(keys_by_block(unet), key=lambda item: ("down", "up", "mid").index(item[0].split("_")[0]))
    for number, (_, width) in enumerate(order):
        for leaf in ("to_k_ip", "to_v_ip"):
            weight = torch.randn(width, WIDTH, generator=generator) / math.sqrt(WIDTH)
            tensors[f"ip_adapter.{2 * number + 1}.{leaf}.weight"] = weight
    save_file(tensors, adapter / "ip-adapter_sd15.safetensors")


def write_i2vgen_xl(folder: Path) -> None:
    place = folder / "i2vgen-xl"
    unet = filled(I2VGenXLUNet(**UNET, **blocks("3D"), attention_head_dim=8, sample_size=8), 4)
    write_pipeline(place, "I2VGenXLPipeline", unet, DDIMScheduler(**NOISE, rescale_betas_zero_snr=True))
    write_image_encoder(place / "image_encoder", image_size=32, patch_size=8)
    write_feature_extractor(place, 32)


def write_stable_video(folder: Path) -> None:
    place = folder / "stable-video-diffusion-img2vid-xt"
    unet = UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 32),  # in 32 groups, whatever the settings say
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        num_attention_heads=(2, 2),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        sample_size=8,
    )
    vae = AutoencoderKLTemporalDecoder(block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2)
    scheduler = EulerDiscreteScheduler(
        **without(NOISE, "clip_sample"),
        prediction_type="v_prediction",
        timestep_type="continuous",
        timestep_spacing="leading",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
    )
    write_pipeline(place, "StableVideoDiffusionPipeline", filled(unet, 5), scheduler, vae=vae, text=False)
    # The pipeline shows CLIP 224 pixels, whatever its settings say.
    write_image_encoder(place / "image_encoder", image_size=224, patch_size=56)
    write_feature_extractor(place, 224)


def write_instruct_pix2pix(folder: Path) -> None:
    unet = UNet2DConditionModel(**UNET, **blocks("2D"), attention_head_dim=2, in_channels=8, sample_size=8)
    scheduler = EulerAncestralDiscreteScheduler(**without(NOISE, "clip_sample"))
    name = "StableDiffusionInstructPix2PixPipeline"
    write_pipeline(folder / "instruct-pix2pix", name, filled(unet, 6), scheduler)


def write_modelscope(folder: Path) -> None:
    unet = UNet3DConditionModel(**UNET, **blocks("3D"), attention_head_dim=8, sample_size=8)
    write_pipeline(folder / "text-to-video-ms-1.7b", "TextToVideoSDPipeline", filled(unet, 7), DDIMScheduler(**NOISE))


def write_pipeline(
    place: Path, name: str, unet: nn.Module, scheduler: Any, *, vae: nn.Module | None = None, text: bool = True
) -> None:
    """Write a pipeline's index, UNet, VAE and scheduler, with its tokenizer and text encoder."""
    place.mkdir(parents=True)
    parts: dict[str, tuple[str, str]] = {
        "scheduler": ("diffusers", type(scheduler).__name__),
        "unet": ("diffusers", type(unet).__name__),
        "vae": ("diffusers", "AutoencoderKL" if vae is None else type(vae).__name__),
    }
    if text:
        parts |= {"tokenizer": ("transformers", "CLIPTokenizer"), "text_encoder": ("transformers", "CLIPTextModel")}
    if name in ("I2VGenXLPipeline", "StableVideoDiffusionPipeline"):
        parts |= {"image_encoder": ("transformers", "CLIPVisionModelWithProjection")}
    if name != "TextToVideoSDPipeline":
        parts |= {"feature_extractor": ("transformers", "CLIPImageProcessor")}
    if name.startswith("StableDiffusion"):  # named, as on the hub, and not there
        parts |= {"safety_checker": ("stable_diffusion", "StableDiffusionSafetyChecker")}
    index = {"_class_name": name, "_diffusers_version": "0.26.0", **parts}
    (place / "model_index.json").write_text(json.dumps(index))
    unet.save_pretrained(place / "unet")
    sides = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    vae = vae or AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, **sides)
    filled(vae, 8).save_pretrained(place / "vae")
    scheduler.save_pretrained(place / "scheduler")
    if text:
        write_tokenizer(place / "tokenizer")
        write_text_encoder(place / "text_encoder")


def write_tokenizer(place: Path) -> None:
    """Write a tokenizer of single letters, as files of 2023 have it."""
    letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = [chr(letter) for letter in letters] + [chr(256 + number) for number in range(256 - len(letters))]
    names = ["<|startoftext|>", "<|endoftext|>", *spelled, *(f"{letter}</w>" for letter in spelled)]
    special = {"bos_token": names[0], "eos_token": names[1], "unk_token": names[1], "pad_token": names[1]}
    config = {**special, "model_max_length": 16, "tokenizer_class": "CLIPTokenizer"}
    place.mkdir()
    (place / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    (place / "merges.txt").write_text("#version: 0.2\n")
    (place / "special_tokens_map.json").write_text(json.dumps(special))
    (place / "tokenizer_config.json").write_text(json.dumps(config))


def write_text_encoder(place: Path) -> None:
    """Write a text encoder whose tensors are called as those of 2023 are."""
    config = CLIPTextConfig(
        vocab_size=514, hidden_size=WIDTH, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    filled(CLIPTextModel(config), 9).save_pretrained(place)
    tensors = load_file(place / "model.safetensors")
    named = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in tensors.items()}
    named["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(named, place / "model.safetensors", metadata={"format": "pt"})


def write_image_encoder(place: Path, image_size: int, patch_size: int) -> None:
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2, projection_dim=WIDTH,
        image_size=image_size, patch_size=patch_size,
    )  # fmt: skip
    filled(CLIPVisionModelWithProjection(config), 10).save_pretrained(place)


def write_feature_extractor(place: Path, side: int) -> None:
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor.save_pretrained(place / "feature_extractor")


def blocks(kind: str) -> dict[str, tuple[str, str]]:
    return {
        "down_block_types": (f"CrossAttnDownBlock{kind}", f"DownBlock{kind}"),
        "up_block_types": (f"UpBlock{kind}", f"CrossAttnUpBlock{kind}"),
    }


def keys_by_block(unet: nn.Module) -> list[tuple[str, int]]:
    """Return the name and width of every layer of keys that looks at the text."""
    named = unet.named_modules()
    return [(name, module.out_features) for name, module in named if name.endswith("attn2.to_k")]


def filled(model: nn.Module, seed: int) -> nn.Module:
    """Return the network with random weights that let every input through; initial ones are zeros here and there."""
    generator = torch.Generator().manual_seed(seed)
    for value in model.parameters():
        drawn = torch.randn(value.shape, generator=generator)
        value.data = drawn / math.sqrt(value[0].numel()) if value.dim() > 1 else 0.1 * drawn
    for module in model.modules():
        if isinstance(module, nn.GroupNorm | nn.LayerNorm) and module.weight is not None:
            module.weight.data += 1
    return model.eval()


def without(settings: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != name}
