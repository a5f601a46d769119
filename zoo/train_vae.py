"""Train the zoo's autoencoder and hold it to its gate: `python zoo/train_vae.py`, then again with `--resume`.

`AutoencoderKL` at a quarter of each side and four channels, as Stable Diffusion's is at an eighth. It comes first and
must pass before anything is trained on its latents: inside the subject the round trip's mean squared error is at
most .03 (pixels in [-1, 1]), and the frozen oracles read at least 97% of round-tripped videos right. A third of the
training pictures are subjects on grey at 64, 80 and 96 px: those are what HFA encodes (paper, Section 3.3). About a
quarter of an hour on two cores each time; the shipped weights are of two rounds (README.md beside this file).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional
from world import World, drawn_world

from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.toyworld.oracles import Oracle

GATE_SUBJECT_MSE, GATE_ORACLE = 0.03, 0.97
HELD_OUT_SEED = 20_000_003
KL_WEIGHT = 5e-4
"""Per latent value; it keeps latents near unit variance and the decoder deaf to small errors in them."""


def new_vae() -> AutoencoderKL:
    """Return the zoo's autoencoder, untrained: [B, 3, H, W] <-> [B, 4, H/4, W/4], 0.9M parameters."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=64,
        force_upcast=False,
    )


def pictures(world: World, rng: np.random.Generator, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return pictures [B, 3, S, S] in [-1, 1] and their subjects' masks [B, 1, S, S], at one size S."""
    clips, frames = rng.integers(len(world.frames), size=batch_size), rng.integers(8, size=batch_size)
    pixels = torch.from_numpy(world.frames[clips, frames]).permute(0, 3, 1, 2).float() / 127.5 - 1
    masks = torch.from_numpy(world.masks[clips, frames])[:, None].float()
    if rng.uniform() < 1 / 3:
        pixels = pixels * masks
        size = int(rng.choice([64, 80, 96]))
        pixels = functional.interpolate(pixels, (size, size), mode="bilinear")
        masks = functional.interpolate(masks, (size, size))
    return pixels, masks


@torch.inference_mode()
def measure(vae: AutoencoderKL, num_clips: int) -> dict[str, float]:
    """Return the gate's figures on held-out clips: round-trip errors, and the oracles' accuracies after it."""
    world, oracle = drawn_world(num_clips, HELD_OUT_SEED), Oracle()
    errors, whole, right = [], [], []
    for frames, masks, scene in zip(world.frames, world.masks, world.scenes, strict=True):
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
        squared = (decoded - pixels).square().mean(dim=1)
        errors.append(float(squared[torch.from_numpy(masks)].mean()))
        whole.append(float(squared.mean()))
        reading = oracle.read(((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
        truth = (scene.subject.class_name, scene.background, scene.action)
        right.append(
            [a == b for a, b in zip((reading.class_name, reading.background, reading.action), truth, strict=True)]
        )
    accuracies = dict(zip(("class", "background", "action"), np.mean(right, axis=0).tolist(), strict=True))
    return {"subject_mse": float(np.mean(errors)), "frame_mse": float(np.mean(whole)), **accuracies}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("zoo/toyworld/vae"))
    parser.add_argument("--num-clips", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--subject-weight", type=float, default=2.0, help="of pixels inside the subject, others' is 1")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--resume", type=Path, help="start from these weights")
    options = parser.parse_args()
    world, rng = drawn_world(options.num_clips), np.random.default_rng(options.seed)
    torch.manual_seed(options.seed)
    vae = AutoencoderKL.from_pretrained(options.resume, dtype=torch.float32) if options.resume else new_vae()
    vae.train()
    optimizer = torch.optim.AdamW(vae.parameters(), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.learning_rate, total_steps=options.steps, pct_start=0.1
    )
    begin = time.monotonic()
    for step in range(1, options.steps + 1):
        pixels, masks = pictures(world, rng, options.batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(pixels).latent_dist
            decoded = vae.decode(posterior.sample()).sample
        difference = decoded.float() - pixels
        weights = 1 + (options.subject_weight - 1) * masks
        error = (weights * (difference.square() + 0.1 * difference.abs())).mean()
        loss = error + KL_WEIGHT * posterior.kl().float().mean() / posterior.mean[0].numel()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            seconds = time.monotonic() - begin
            squared = difference.detach().square().mean(dim=1, keepdim=True)
            inside = float((squared * masks).sum() / masks.sum())
            left = seconds / step * (options.steps - step)
            print(
                f"step {step}/{options.steps} loss {loss.item():.4f} subject mse {inside:.4f}, {left:.0f} s left",
                flush=True,
            )
    # Latents are scaled to unit variance for the diffusion model, as Stable Diffusion's 0.18215 does.
    with torch.inference_mode():
        pixels = torch.from_numpy(world.frames[:256, 3]).permute(0, 3, 1, 2).float() / 127.5 - 1
        spread = float(vae.encode(pixels).latent_dist.mode().std())
    vae.register_to_config(scaling_factor=round(1 / spread, 5))
    vae.half().save_pretrained(options.output)
    figures = measure(AutoencoderKL.from_pretrained(options.output, dtype=torch.float32), 500)
    write_atomic(options.output / "scores.json", json.dumps(figures, indent=1).encode())
    print(figures)
    if (
        figures["subject_mse"] > GATE_SUBJECT_MSE
        or min(figures[n] for n in ("class", "background", "action")) < GATE_ORACLE
    ):
        raise SystemExit(
            f"the autoencoder does not pass its gate ({GATE_SUBJECT_MSE}, {GATE_ORACLE}): train nothing on it"
        )


if __name__ == "__main__":
    main()
