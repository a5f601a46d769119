"""Train MagDiff from a text-to-video base on shards: `python -m magdiff_model.train --shards data/curated`.

The loop below is the whole of it: a batch by its number, frozen encoders, the condition, Eq. 2, one optimiser step.
Order, windows, drops, timesteps and noise follow from the seed and the step, so a run that was stopped goes on from
`state.pt` exactly as it would have. One process; the settings' defaults are the paper's (Supplement B).
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers.optimization import get_scheduler

from magdiff_curation.clips.atomic import write_atomic
from magdiff_model.alignments import TrainableSet, add_alignments, alphas_by_layer, choose_trainable
from magdiff_model.checkpoints import STATE, load_pipeline, load_state, save_pipeline, save_state
from magdiff_model.config import parse
from magdiff_model.data.loader import Batch, ClipSamples, DataSettings, batches
from magdiff_model.data.subjects import SubjectViews
from magdiff_model.encoding import EmptySlots, encode_frames, encode_images, encode_pyramid, encode_text
from magdiff_model.loss import diffusion_loss
from magdiff_model.models.apa import ApaMode
from magdiff_model.models.hfa import HfaInit
from magdiff_model.models.image_tokens import ImagePromptKind
from magdiff_model.models.unet import Condition
from magdiff_model.pipeline import MagDiffPipeline
from magdiff_model.precision import Precision, autocast, pick_device


@dataclass(frozen=True, kw_only=True)
class AlignmentSettings:
    """Which of the paper's alignments the model has: every row of Tables 5, 6 and 7."""

    apa: ApaMode = "adaptive"
    """adaptive (Eq. 4), fixed (Table 7), fpa (Eq. 3), or text_only (no image in cross-attention)."""
    apa_alpha: tuple[float, float] = (1.0, 1.0)
    """alpha_text and alpha_image to start from; with fixed, to stay at."""
    apa_own_query: bool = False
    """Give the image branch a query projection of its own, as Eq. 3 writes it; Eq. 4 shares the text's."""
    image_prompt: ImagePromptKind = "patches"
    """Image tokens: patches (all of CLIP's last states), pooled (its class token), or resampler (learnt queries)."""
    hfa: bool = True
    """High-fidelity alignment: the subject's latents enter at the first convolution."""
    hfa_ratios: tuple[float, ...] = (1.5, 1.25, 1.0)
    """HFA's sizes as multiples of the frames' (384, 320 and 256 px in the paper)."""
    hfa_views: SubjectViews = "resized"
    """resized: every size shows the same framing; cropped: each is cut out of the middle of the largest."""
    hfa_init: HfaInit = "random"
    """How HFA's convolutions start: random, or copy: z_s starts as the subject's own latents."""
    sda: bool = True
    """Subject-driven alignment: the subject cut out by its mask, not the whole frame."""
    empty_slots: EmptySlots = "masked_image"
    """What HFA's slots without a subject hold."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How weights are updated (Supplement B)."""

    trainable: TrainableSet = "transformers"
    """transformers: Supplement B's reading of what trains; attention: Supplement D's; all: the resnets too."""
    learning_rate: float = 5e-5
    """AdamW's."""
    new_rate: float = 1.0
    """What MagDiff adds to the base learns at this multiple of the learning rate."""
    alpha_rate: float = 1.0
    """The alphas learn at this multiple of the learning rate, without weight decay."""
    weight_decay: float = 0.01
    """AdamW's."""
    schedule: Literal["constant_with_warmup", "cosine", "linear"] = "constant_with_warmup"
    """The learning rate over the run."""
    warmup_steps: int = 0
    """Steps to the full learning rate."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Train MagDiff on shards."""

    shards: Path
    """A folder of shards that pipelines/curate.py wrote, or one .tar with its index."""
    base: str = "zoo/toyworld"
    """The pipeline to start from: a folder, such as zoo/toyworld."""
    output: Path = Path("data/magdiff")
    """Receives the trained pipeline, `losses.json`, and `state.pt` to resume from."""
    config: Path | None = None
    """A YAML file of these settings, such as pipelines/configs/toyworld_train.yaml; the command line overrides it."""
    steps: int = 50_000
    """Optimiser steps."""
    batch_size: int = 64
    """Clips a step."""
    workers: int = 2
    """Processes that read and decode clips; 0 does it in the training process. Results are the same."""
    precision: Precision = "auto"
    """auto: bf16 where the hardware has it."""
    device: str = "auto"
    """auto: the GPU where there is one."""
    save_every: int = 500
    """Steps between two saves of `state.pt`."""
    log_every: int = 10
    """Steps between two lines of progress."""
    dry_run: bool = False
    """Say what would train, and on what; do nothing."""
    data: DataSettings = field(default_factory=DataSettings)
    """Frames and drops."""
    alignments: AlignmentSettings = field(default_factory=AlignmentSettings)
    """SDA, APA, HFA."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    """Optimiser."""


def train(settings: TrainSettings) -> None:
    """Train, and leave a pipeline in `settings.output`.

    Raises:
        ValueError: shards, base or an earlier run in the output folder do not fit; nothing was done.
    """
    device = pick_device(settings.device)
    torch.manual_seed(settings.data.seed)  # the new parts' first values
    pipeline = with_alignments(load_pipeline(settings.base), settings).to(device)
    unet, vae, scheduler = pipeline.unet, pipeline.vae, pipeline.scheduler
    trainable = choose_trainable(unet, settings.optimizer.trainable)
    samples = ClipSamples(
        settings.shards,
        settings.data,
        pipeline.subject_settings(),
        pipeline.latent_size(),
        scheduler.config.num_train_timesteps,
    )
    rate = settings.optimizer.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": trainable.base},
        {"params": trainable.new, "lr": rate * settings.optimizer.new_rate},
        {"params": trainable.alphas, "lr": rate * settings.optimizer.alpha_rate, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=rate, weight_decay=settings.optimizer.weight_decay
    )
    schedule = get_scheduler(
        settings.optimizer.schedule,
        optimizer,
        num_warmup_steps=settings.optimizer.warmup_steps,
        num_training_steps=settings.steps,
    )
    total, trained = (sum(p.numel() for p in parameters) for parameters in (unet.parameters(), trainable.everything()))
    print(
        f"{trained / 1e6:.2f}M of the UNet's {total / 1e6:.2f}M parameters train, on {len(samples)} clips for "
        f"{settings.steps * settings.batch_size / len(samples):.1f} epochs, on {device}",
        flush=True,
    )
    if settings.dry_run:
        return
    losses = load_state(settings, unet, optimizer, schedule)
    first_step = len(losses)
    if first_step:
        print(f"going on after step {first_step} of {settings.output / STATE}", flush=True)
    unet.train()
    begin, waited = time.monotonic(), 0.0
    stream = batches(samples, settings.batch_size, first_step, settings.steps, settings.workers)
    for step in range(first_step + 1, settings.steps + 1):
        asked = time.monotonic()
        batch = next(stream)
        waited += time.monotonic() - asked
        # Dropout, the same after a stop; once the batch is there, since starting a loader draws a number too.
        torch.manual_seed(settings.data.seed * 1_000_003 + step)
        with autocast(device, settings.precision):
            with torch.no_grad():
                latents = encode_frames(vae, batch.frames.to(device)).float()
            condition = make_condition(pipeline, batch)
            loss = diffusion_loss(
                unet, scheduler, latents, batch.noise.to(device), batch.timesteps.to(device), condition
            )
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trainable.everything(), settings.optimizer.max_gradient_norm)
        if not torch.isfinite(norm):
            raise ValueError(
                f"step {step}: the gradient is {norm.item()} on clips {batch.keys}; lower optimizer.learning_rate "
                f"(now {rate:g}) or train in fp32; state.pt is from before"
            )
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % settings.log_every == 0 or step == settings.steps:
            seconds = time.monotonic() - begin
            left = seconds / (step - first_step) * (settings.steps - step)
            recent = sum(losses[-50:]) / len(losses[-50:])
            print(
                f"step {step}/{settings.steps}  loss {recent:.4f}  {(step - first_step) / seconds:.2f} steps/s  "
                f"waiting for data {waited / seconds:.0%}  {left:.0f} s left",
                flush=True,
            )
        if step % settings.save_every == 0 or step == settings.steps:
            save_state(settings, unet, optimizer, schedule, losses)
    save_pipeline(pipeline, settings.output)
    write_atomic(settings.output / "losses.json", json.dumps(losses).encode())
    for name, (alpha_text, alpha_image) in alphas_by_layer(unet).items():
        print(f"{name}: alpha_text {alpha_text:.3f}, alpha_image {alpha_image:.3f}")
    print(f"the trained pipeline is in {settings.output}")


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


def make_condition(pipeline: MagDiffPipeline, batch: Batch) -> Condition:
    """Return the batch's condition; the frozen encoders keep no graph, the new projections do."""
    unet, device = pipeline.unet, pipeline.unet.device
    clip_states = pyramid = None
    with torch.no_grad():
        text = encode_text(pipeline.tokenizer, pipeline.text_encoder, batch.captions)
        if unet.config.apa_mode != "text_only":
            clip_states = encode_images(pipeline.image_encoder, batch.clip_pixels.to(device))
        if unet.config.hfa_scales:
            pictures = [scale.to(device) for scale in batch.pyramid]
            pyramid = encode_pyramid(pipeline.vae, pictures, batch.filled.to(device), pipeline.config.empty_slots)
    return unet.condition(text, clip_states, pyramid, tuple(batch.noise.shape[-2:]))


def main() -> None:
    """Read the command line and train."""
    try:
        train(parse(TrainSettings, sys.argv[1:], "python -m magdiff_model.train"))
    except (ValueError, OSError) as error:
        sys.exit(f"train: {error}")


if __name__ == "__main__":
    main()
