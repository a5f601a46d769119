"""Train the zoo's text-to-video base: `python zoo/train_base.py` (about three quarters of an hour on two cores).

What VidRD is to the paper: a video UNet that knows the world's classes, actions and backgrounds from text alone, and
has never seen a subject image. Written as a whole pipeline, from which `magdiff_model.train` starts. It predicts v
with zero terminal signal-to-noise, because a small model learns a clip's broad colours from the noisiest steps.
Goes on from its last save when started again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)
from world import SEED, World, drawn_world

from magdiff_curation.clips.atomic import sha256_of_file
from magdiff_model.encoding import encode_frames, encode_text
from magdiff_model.loss import diffusion_loss
from magdiff_model.models.apa import Prompt
from magdiff_model.models.unet import Condition, MagDiffUNet3DConditionModel
from magdiff_model.pipeline import MagDiffPipeline


def new_unet() -> MagDiffUNet3DConditionModel:
    """Return the base, untrained: VidRD's layout at toy size, text only."""
    return MagDiffUNet3DConditionModel(
        block_out_channels=(64, 96, 64),
        attention_levels=(False, True, True),  # attention at 16x16 too would take 1.6 times as long a step
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=32,
        norm_num_groups=8,
        temporal_dropout=0.0,
        apa_mode="text_only",
        hfa_scales=0,
        image_hidden_size=128,
    )


def new_scheduler() -> DDIMScheduler:
    """Return DDIM over Stable Diffusion's noise levels, rescaled to end in pure noise."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


@torch.no_grad()
def all_latents(vae: AutoencoderKL, world: World) -> Tensor:
    """Return every clip's latents, float16 [N, 4, 8, 16, 16]."""
    latents = []
    for start in range(0, len(world.frames), 8):
        frames = torch.from_numpy(world.frames[start : start + 8]).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            latents.append(encode_frames(vae, frames).half())
    return torch.cat(latents)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, default=Path("zoo/toyworld"))
    parser.add_argument("--state", type=Path, default=Path("data/zoo/base.pt"))
    parser.add_argument("--num-clips", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=4600)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    options = parser.parse_args()
    parts = {
        "vae": AutoencoderKL.from_pretrained(options.zoo / "vae", dtype=torch.float32),
        "text_encoder": CLIPTextModelWithProjection.from_pretrained(options.zoo / "text_encoder", dtype=torch.float32),
        "tokenizer": CLIPTokenizer.from_pretrained(options.zoo / "tokenizer"),
        "image_encoder": CLIPVisionModelWithProjection.from_pretrained(
            options.zoo / "image_encoder", dtype=torch.float32
        ),
        "feature_extractor": CLIPImageProcessorPil.from_pretrained(options.zoo / "feature_extractor"),
        "scheduler": new_scheduler(),
    }
    world = drawn_world(options.num_clips)
    begin = time.monotonic()
    encoder = sha256_of_file(options.zoo / "vae" / "diffusion_pytorch_model.safetensors")[:12]
    cache = options.state.with_name(f"latents-{encoder}-{options.num_clips}.pt")
    if not cache.is_file():
        torch.save(all_latents(parts["vae"], world), cache)
    latents = torch.load(cache, weights_only=True)
    print(
        f"encoded {len(latents)} clips in {time.monotonic() - begin:.0f} s, spread {latents.float().std():.3f}",
        flush=True,
    )

    torch.manual_seed(9)
    unet = new_unet()
    print(f"{sum(p.numel() for p in unet.parameters()) / 1e6:.2f}M parameters", flush=True)
    optimizer = torch.optim.AdamW(unet.parameters(), weight_decay=0.01, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.learning_rate, total_steps=options.steps, pct_start=0.05
    )
    first = 0
    if options.state.is_file():
        state = torch.load(options.state, weights_only=True)
        unet.load_state_dict(state["unet"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
        for _ in range(first):  # by the step alone, so that `--steps` may change on the way
            schedule.step()
        print(f"going on after step {first}", flush=True)
    begin, losses = time.monotonic(), []
    for step in range(first + 1, options.steps + 1):
        rng = np.random.default_rng([SEED, 3, step])
        chosen = rng.integers(len(latents), size=options.batch_size)
        captions = ["" if rng.uniform() < 0.15 else world.scenes[clip].caption for clip in chosen]
        noise = torch.from_numpy(rng.standard_normal((options.batch_size, *latents.shape[1:]), dtype=np.float32))
        timesteps = torch.from_numpy(rng.integers(1000, size=options.batch_size))
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                text = encode_text(parts["tokenizer"], parts["text_encoder"], captions)
            clean = latents[chosen].float()
            loss = diffusion_loss(unet, parts["scheduler"], clean, noise, timesteps, Condition(Prompt(text[:, None])))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 0:
            left = (time.monotonic() - begin) / (step - first) * (options.steps - step)
            print(f"step {step}/{options.steps} loss {np.mean(losses[-200:]):.4f}, {left:.0f} s left", flush=True)
        if step % 250 == 0 or step == options.steps:
            options.state.parent.mkdir(parents=True, exist_ok=True)
            states = {"unet": unet.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(states, options.state)
            if step % 500 == 0 or step == options.steps:
                save(unet, parts, options.zoo)


def save(unet: MagDiffUNet3DConditionModel, parts: dict[str, object], folder: Path) -> None:
    """Write the pipeline with the UNet in half precision; the other parts lie there already, in theirs."""
    halved = MagDiffUNet3DConditionModel.from_config(unet.config)
    halved.load_state_dict(unet.state_dict())
    halved.half().save_pretrained(folder / "unet")
    parts["scheduler"].save_pretrained(folder / "scheduler")
    pipeline = MagDiffPipeline(**parts, unet=halved, size_px=64, num_frames=8)
    pipeline.save_config(folder)


if __name__ == "__main__":
    main()
