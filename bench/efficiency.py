"""Count parameters and multiplications of MagDiff at full size, part by part: `python bench/efficiency.py`.

Nothing is computed: models and inputs are on torch's meta device, so it takes seconds and no memory. A multiplication
and its addition are two FLOP, as torch counts them. Normalisations, activations and copies are not counted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from magdiff_model.models.unet import Condition, MagDiffUNet3DConditionModel

TEXT_TOKENS, IMAGE_TOKENS = 77, 257  # CLIP's text, and ViT-H/14's patches with its class token
NEW = ("to_k_image", "to_v_image", "image_tokens", "hfa", "conv_in_cond", "alpha_text", "alpha_image")


def gflop(run: Callable[[], object]) -> float:
    """Return what a call multiplies and adds, in GFLOP."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def build(layout: str, **settings: object) -> MagDiffUNet3DConditionModel:
    """Return a full-size UNet without memory."""
    with torch.device("meta"):
        return MagDiffUNet3DConditionModel(temporal_layout=layout, **settings).eval()  # type: ignore[arg-type]


def condition(unet: MagDiffUNet3DConditionModel, frames: int, side: int, shown: int) -> Condition:
    """Return one sample's condition: `shown` is 1 for generation, the frames for editing."""
    with torch.device("meta"):
        pyramid = [torch.zeros(1, 4, frames, size, size) for size in (side * 3 // 2, side * 5 // 4, side)]
        states = torch.zeros(1, shown, IMAGE_TOKENS, unet.config.image_hidden_size)
        return unet.condition(
            torch.zeros(1, TEXT_TOKENS, 1024),
            None if unet.config.apa_mode == "text_only" else states,
            pyramid if unet.config.hfa_scales else None,
            (side, side),
        )


def step(unet: MagDiffUNet3DConditionModel, conditioned: Condition, frames: int, side: int) -> float:
    """Return one denoising step's GFLOP."""
    with torch.device("meta"):
        sample, timestep = torch.zeros(1, 4, frames, side, side), torch.zeros(1)
    return gflop(lambda: unet(sample, timestep, conditioned))


def parameters(unet: nn.Module) -> dict[str, float]:
    """Return millions of parameters by part."""
    parts: Counter[str] = Counter()
    for name, value in unet.named_parameters():
        words = name.split(".")
        if set(words) & set(NEW):
            part = "MagDiff: " + ("HFA, conv_in_cond" if words[0] in ("hfa", "conv_in_cond") else "APA, image tokens")
        elif "temp_convs" in words:
            part = "Temp-Conv"
        elif {"temporal", "temp_attentions", "transformer_in"} & set(words):
            part = "temporal attention"
        elif "resnets" in words:
            part = "resnets"
        elif "attentions" in words:
            part = "spatial transformers"
        else:
            part = "samplers, in, time, out"
        parts[part] += value.numel()
    return {part: count / 1e6 for part, count in parts.most_common()}


@torch.no_grad()
def main() -> None:
    """Print the tables of docs/efficiency.md."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--frames", type=int, default=8)
    options.add_argument("--size-px", type=int, default=256)
    chosen = options.parse_args()
    frames, side = chosen.frames, chosen.size_px // 8
    for layout in ("vidrd", "modelscope"):
        unet, base = build(layout), build(layout, apa_mode="text_only", hfa_scales=0)
        counts, total = parameters(unet), sum(parameters(base).values())
        print(f"\n{layout}, {frames} frames of {chosen.size_px} px")
        for part, millions in counts.items():
            print(f"  {part:28} {millions:8.1f} M  {100 * millions / total:5.2f}% of the base")
        plain = step(base, base.with_keys_values(condition(base, frames, side, 1)), frames, side)
        print(f"  step of the base             {plain:8.1f} GFLOP")
        for task, shown in (("generation", 1), ("editing", frames)):
            once = condition(unet, frames, side, shown)
            anew, cached = step(unet, once, frames, side), step(unet, unet.with_keys_values(once), frames, side)
            print(f"  step, {task:12}           {cached:8.1f} GFLOP  + {100 * (cached / plain - 1):.2f}%")
            print(f"    keys and values anew       {anew - cached:8.1f} GFLOP more")
        made = gflop(lambda unet=unet: condition(unet, frames, side, 1))
        print(f"  z_s, image tokens            {made:8.1f} GFLOP, once a video")
    with torch.device("meta"):
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        ).eval()
        latents = torch.zeros(frames, 4, side, side)
    sizes = [chosen.size_px * 3 // 2, chosen.size_px * 5 // 4, chosen.size_px]
    for task, shown, blank in (("generation", 1, 1), ("editing", frames, 0)):  # empty slots hold one masked picture
        with torch.device("meta"):
            pictures = [torch.zeros(shown + blank, 3, size, size) for size in sizes]
        encodes = sum(gflop(lambda x=scale: vae.encode(x).latent_dist.mode()) for scale in pictures)
        print(f"\nVAE encodes of HFA, {task:10} {encodes:8.1f} GFLOP, once a video")
    decode = gflop(lambda: vae.decode(latents).sample)
    print(f"VAE decode of {frames} frames         {decode:8.1f} GFLOP, once a video")


if __name__ == "__main__":
    main()
