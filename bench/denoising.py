"""Time denoising steps side by side: MagDiff's against its base's, and with prompts projected once or at every step.

    python bench/denoising.py                 the full size (1.2 B parameters, 8 frames of 256 px) in bf16
    python bench/denoising.py --checkpoint D  a pipeline's own UNet in fp32, at its own size

Weights are random at full size. Variants take turns within one run; medians are printed, and ratios of them.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from magdiff_model.checkpoints import load_pipeline
from magdiff_model.models.unet import Condition, MagDiffUNet3DConditionModel


def variants(checkpoint: str | None) -> tuple[MagDiffUNet3DConditionModel, MagDiffUNet3DConditionModel, int]:
    """Return MagDiff, its base (the same settings without alignments) and the latents' side."""
    if checkpoint:
        pipeline = load_pipeline(checkpoint)
        unet, side = pipeline.unet, pipeline.latent_size()[1]
        if not unet.config.hfa_scales or unet.config.apa_mode == "text_only":
            raise SystemExit(f"{checkpoint} has not all alignments: give a trained MagDiff")
        base = MagDiffUNet3DConditionModel.from_config(unet.config, apa_mode="text_only", hfa_scales=0)
        return unet.eval(), base.eval(), side
    torch.set_default_dtype(torch.bfloat16)
    return (
        MagDiffUNet3DConditionModel().eval(),
        MagDiffUNet3DConditionModel(apa_mode="text_only", hfa_scales=0).eval(),
        32,
    )


def condition(unet: MagDiffUNet3DConditionModel, frames: int, side: int, shown: int) -> Condition:
    """Return one random condition; `shown` is 1 for generation, the frames for editing."""
    config = unet.config
    pyramid = [torch.randn(1, 4, frames, size, size) for size in (side * 3 // 2, side * 5 // 4, side)]
    states = torch.randn(1, shown, 257, config.image_hidden_size)
    text = torch.randn(1, 77, config.cross_attention_dim)
    image = None if config.apa_mode == "text_only" else states
    return unet.condition(text, image, pyramid if config.hfa_scales else None, (side, side))


@torch.no_grad()
def main() -> None:
    """Time and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--checkpoint", help="a trained MagDiff's folder")
    options.add_argument("--frames", type=int, default=8)
    options.add_argument("--turns", type=int, default=7)
    chosen = options.parse_args()
    unet, base, side = variants(chosen.checkpoint)
    sample, timestep = torch.randn(1, 4, chosen.frames, side, side), torch.tensor([500])
    generation, editing = (condition(unet, chosen.frames, side, shown) for shown in (1, chosen.frames))
    steps = {
        "base": (base, base.with_keys_values(condition(base, chosen.frames, side, 1))),
        "generation": (unet, unet.with_keys_values(generation)),
        "generation, projected anew": (unet, generation),
        "editing": (unet, unet.with_keys_values(editing)),
        "editing, projected anew": (unet, editing),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(chosen.turns + 1):
        # Forth and back: what runs first in a turn waits for memory that the others do not.
        for name, (model, conditioned) in list(steps.items())[:: 1 if turn % 2 else -1]:
            begin = time.perf_counter()
            model(sample, timestep, conditioned)
            if turn:  # the first warms up
                times[name].append(time.perf_counter() - begin)
    first = statistics.median(times["base"])
    for name, seconds in times.items():
        ratio = statistics.median(seconds) / first
        print(f"{name:28} {statistics.median(seconds):8.4f} s a step  {ratio:.3f} x the base", flush=True)


if __name__ == "__main__":
    main()
