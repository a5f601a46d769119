"""Compare the memory that training is estimated to take with what it takes: `python bench/memory.py`.

Each case takes two steps of the trainer, on random input, in a process of its own and on one core. What counts is the
highest resident memory less what was there before its models were built, so no part of it is the libraries'. glibc has
to give freed tensors back at once (MALLOC_MMAP_THRESHOLD_, one arena), else what it keeps for later is measured too.
What then lies between the two is what kernels take for themselves: oneDNN's workspaces and repacked weights.

    --device cuda   what torch's allocator has handed out, on a GPU
    --full-size     estimates only: the paper's eight V100s and one card of 24 GB
    --case NAME     one case alone, as JSON; under torchrun for those of two ranks
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from transformers import CLIPImageProcessor, CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from magdiff_model.checkpoints import load_pipeline
from magdiff_model.data.batch import Batch
from magdiff_model.data.samples import DataSettings
from magdiff_model.models.unet import MagDiffUNet3DConditionModel
from magdiff_model.pipeline import MagDiffPipeline
from magdiff_model.training.distributed import Ranks, join
from magdiff_model.training.memory import estimate
from magdiff_model.training.settings import OptimizerSettings, TrainSettings
from magdiff_model.training.setup import with_alignments
from magdiff_model.training.trainer import Trainer

ZOO = Path(__file__).parents[1] / "zoo/toyworld"
GIB = 2**30
WIDER = {"block_out_channels": (64, 128, 256, 256), "attention_head_dim": 32}
WIDEST = {"block_out_channels": (160, 320, 640, 640), "attention_head_dim": 32}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "zoo, 2 clips": ({}, {"batch_size": 2}),
    "zoo, 8 clips": ({}, {"batch_size": 8}),
    "zoo, 16 clips, all trains": ({}, {"batch_size": 16, "optimizer": OptimizerSettings(trainable="all")}),
    "zoo, 16 clips, checkpointing": ({}, {"batch_size": 16, "gradient_checkpointing": True}),
    "64-256, 8 clips": (WIDER, {"batch_size": 8}),
    "64-256, 2 x 4 clips, moving average": (
        WIDER,
        {"batch_size": 8, "accumulate": 2, "optimizer": OptimizerSettings(ema_decay=0.999)},
    ),
    "160-640, 4 clips": (WIDEST, {"batch_size": 4}),
    "160-640, 4 clips, checkpointing": (WIDEST, {"batch_size": 4, "gradient_checkpointing": True}),
    "160-640, 4 clips, bf16": (WIDEST, {"batch_size": 4, "precision": "bf16"}),
    "160-640, 4 clips, bf16, checkpointing": (
        WIDEST,
        {"batch_size": 4, "precision": "bf16", "gradient_checkpointing": True},
    ),
    "160-640, 2 ranks x 1 clip": (WIDEST, {"batch_size": 2, "gradient_checkpointing": True}),
    "160-640, 2 ranks x 1 clip, sharded": (
        WIDEST,
        {"batch_size": 2, "gradient_checkpointing": True, "sharding": "full"},
    ),
}
"""Name -> the UNet's widths, if they are not the zoo's, and settings; 8 frames of 64 px, which is 16 x 16 latents."""

RETURN_MEMORY = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}


def build(unet: dict[str, Any], settings: TrainSettings) -> MagDiffPipeline:
    """Return the zoo's pipeline with its alignments, around its own UNet or a random one."""
    base = load_pipeline(ZOO)
    if unet:
        width = base.unet.config.cross_attention_dim
        plain = MagDiffUNet3DConditionModel(**unet, cross_attention_dim=width, apa_mode="text_only", hfa_scales=0)
        base.register_modules(unet=plain)
    return with_alignments(base, settings)


def random_batch(pipeline: MagDiffPipeline, settings: TrainSettings, num_ranks: int) -> Batch:
    """Return a micro-batch as training reads it."""
    clips, frames = settings.batch_size // (settings.accumulate * num_ranks), settings.data.num_frames
    side, subject = pipeline.config.size_px, pipeline.subject_settings()
    return Batch(
        keys=[""] * clips,
        captions=["a red ball rolls"] * clips,
        frames=torch.randint(256, (clips, frames, side, side, 3), dtype=torch.uint8),
        filled=(torch.arange(frames) < 1).repeat(clips, 1),
        pyramid=tuple(torch.randint(256, (clips, size, size, 4), dtype=torch.uint8) for size in subject.sizes_px()),
        clip_pictures=torch.randint(256, (clips, 1, subject.clip_size_px, subject.clip_size_px, 4), dtype=torch.uint8),
        noise=torch.randn(clips, 4, frames, *pipeline.latent_size()[1:]),
        timesteps=torch.randint(1000, (clips,)),
    )


def two_steps(unet: dict[str, Any], settings: TrainSettings, ranks: Ranks) -> int:
    """Return the most bytes that this process, or the GPU, had while they were taken."""
    pipeline = build(unet, settings).to(ranks.device)
    trainer = Trainer(pipeline, settings, ranks)
    trainer.unet.train()
    forget_peak(ranks.device)
    for _ in range(2):
        batches = [random_batch(pipeline, settings, ranks.count) for _ in range(settings.accumulate)]
        trainer.step([trainer.encode(batch) for batch in batches])
    return torch.cuda.max_memory_allocated() if ranks.device.type == "cuda" else resident_bytes("VmHWM")


def measure(name: str, ranks: Ranks) -> dict[str, int]:
    """Return estimated and measured bytes of one case, in a process that has done nothing else."""
    unet, chosen = CASES[name]
    settings = TrainSettings(shards=(), **{"precision": "fp32", **chosen})
    estimated = estimate(build(unet, settings), settings, ranks.device.type, ranks.count)
    # First at a small size: torch and diffusers import some of themselves when it is needed.
    two_steps(
        {}, replace(settings, batch_size=settings.accumulate * ranks.count, data=DataSettings(num_frames=3)), ranks
    )
    gc.collect()
    forget_peak(ranks.device)
    before = torch.cuda.memory_allocated() if ranks.device.type == "cuda" else resident_bytes("VmRSS")
    return {"estimated": estimated.peak, "measured": two_steps(unet, settings, ranks) - before}


def forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def resident_bytes(field: str) -> int:
    """Return what the kernel says of this process's memory: VmRSS is what it has, VmHWM the most it had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024


def full_size() -> MagDiffPipeline:
    """Return Stable Diffusion 2.1's parts, CLIP ViT-H and MagDiff's UNet in VidRD's layout, without memory."""
    tokenizer = load_pipeline(ZOO).tokenizer
    tokenizer.model_max_length = 77
    with torch.device("meta"):
        unet = MagDiffUNet3DConditionModel()
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        )
        text = CLIPTextConfig(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16, hidden_act="gelu"
        )
        vision = CLIPVisionConfig(
            hidden_size=1280,
            intermediate_size=5120,
            num_hidden_layers=32,
            num_attention_heads=16,
            patch_size=14,
            hidden_act="gelu",
        )
        encoders = [vae, CLIPTextModel(text), CLIPVisionModel(vision)]
    vae, text_encoder, image_encoder = (part.requires_grad_(False).eval() for part in encoders)
    parts = (vae, text_encoder, tokenizer, image_encoder, CLIPImageProcessor(), unet, DDIMScheduler())
    return MagDiffPipeline(*parts)


def print_full_size() -> None:
    """Print what the paper's cards and one smaller card would need."""
    attention = OptimizerSettings(trainable="attention")
    half: dict[str, Any] = {"shards": (), "half_encoders": True}
    paper = TrainSettings(**half, precision="fp16")
    single = TrainSettings(**half, precision="bf16", accumulate=32, optimizer=attention)
    sharded = TrainSettings(**half, precision="bf16", sharding="full")
    for title, settings, num_ranks, available in (
        ("the paper's 8 x V100 (32 GB), 8 clips each, fp16", paper, 8, 32 * GIB),
        ("one card of 24 GB, 2 clips at a time, bf16, attention trains", single, 1, 24 * GIB),
        ("8 cards of 24 GB, 8 clips each, bf16, sharded", sharded, 8, 24 * GIB),
    ):
        for checkpointing in (False, True):
            began = time.monotonic()
            chosen = replace(settings, gradient_checkpointing=checkpointing)
            found = estimate(full_size(), chosen, "cuda", num_ranks)
            print(f"{title}{', checkpointing' * checkpointing}  ({time.monotonic() - began:.0f} s)")
            print(found.describe("cuda", available), flush=True)


def main() -> None:
    """Print the comparison."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options.add_argument("--case", choices=CASES)
    options.add_argument("--full-size", action="store_true")
    chosen = options.parse_args()
    if chosen.full_size:
        print_full_size()
        return
    if chosen.case:
        with join(chosen.device) as ranks:
            found = measure(chosen.case, ranks)
        ranks.say(json.dumps(found))
        return
    for name in CASES:
        several = "2 ranks" in name
        if several and chosen.device == "cuda" and torch.cuda.device_count() < 2:
            continue
        run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if several else []
        command = [sys.executable, *run, __file__, "--case", name, "--device", chosen.device]
        done = subprocess.run(command, env={**os.environ, **RETURN_MEMORY}, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:40} failed: {done.stderr}")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        estimated, measured = found["estimated"], found["measured"]
        print(
            f"{name:40} measured {measured / 1e6:7.0f} MB  estimated {estimated / 1e6:7.0f} MB  "
            f"{estimated / measured - 1:+.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
