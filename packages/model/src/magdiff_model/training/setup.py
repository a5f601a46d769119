"""What a run starts from: the base with its alignments, what of it trains, and the run's identity."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from diffusers.optimization import get_scheduler
from torch import nn

from magdiff_curation.clips.atomic import canonical_json, read_many, sha256_hex, sha256_of_file
from magdiff_curation.clips.index import index_path
from magdiff_model.alignments import add_alignments, choose_trainable
from magdiff_model.pipeline import MagDiffPipeline
from magdiff_model.training.settings import TrainSettings

_ELSEWHERE = (
    *("shards", "base", "output", "config", "workers", "device", "sharding", "accumulate", "log_every"),
    *("gradient_checkpointing", "half_encoders", "tracker", "dry_run", "checkpoints", "validation"),
)
_READING = ("cache_gigabytes", "trusted_videos", "max_skipped")


def with_alignments(base: MagDiffPipeline, settings: TrainSettings) -> MagDiffPipeline:
    """Return the base's pipeline around a UNet with the settings' alignments, all else frozen."""
    chosen = settings.alignments
    unet = add_alignments(
        base.unet,
        apa_mode=chosen.apa,
        apa_alpha=chosen.apa_alpha,
        apa_own_query=chosen.apa_own_query,
        image_prompt=chosen.image_prompt,
        hfa_scales=len(chosen.hfa_ratios) if chosen.hfa else 0,
        hfa_init=chosen.hfa_init,
        image_hidden_size=base.image_encoder.config.hidden_size,
    )
    for part in (base.vae, base.text_encoder, base.image_encoder):
        part.requires_grad_(False).eval()
    return MagDiffPipeline(
        **{**base.components, "unet": unet},
        size_px=base.config.size_px,
        num_frames=settings.data.num_frames,
        subject_ratios=chosen.hfa_ratios,
        subject_views=chosen.hfa_views,
        subject_masked=chosen.sda,
        empty_slots=chosen.empty_slots,
    )


def make_optimizer(unet: nn.Module, settings: TrainSettings) -> tuple[torch.optim.AdamW, Any]:
    """Freeze what does not train; return AdamW over the rest, in groups by rate, and the rates' schedule."""
    chosen = settings.optimizer
    trainable = choose_trainable(unet, chosen.trainable)
    rate = chosen.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": trainable.base},
        {"params": trainable.new, "lr": rate * chosen.new_rate},
        {"params": trainable.alphas, "lr": rate * chosen.alpha_rate, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=rate, weight_decay=chosen.weight_decay
    )
    schedule = get_scheduler(
        chosen.schedule, optimizer, num_warmup_steps=chosen.warmup_steps, num_training_steps=settings.steps
    )
    return optimizer, schedule


def run_sha256(settings: TrainSettings, shards: list[Path]) -> str:
    """Return the hash of every setting that shapes the weights, with base and shards by what they hold.

    Where things are, on how many GPUs, how fast and how often saved does not count, nor how long a run is whose
    learning rate does not depend on it.
    """
    value = {name: entry for name, entry in dataclasses.asdict(settings).items() if name not in _ELSEWHERE}
    value["data"] = {name: entry for name, entry in value["data"].items() if name not in _READING}
    if settings.optimizer.schedule == "constant_with_warmup":
        del value["steps"]
    value["base"] = sha256_of_file(Path(settings.base) / "unet" / "diffusion_pytorch_model.safetensors")
    value["shards"] = [sha256_hex(content) for content in read_many([index_path(shard) for shard in shards])]
    return sha256_hex(canonical_json({name: repr(entry) for name, entry in value.items()}))
