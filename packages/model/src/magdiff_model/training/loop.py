"""The main path of training, top to bottom: a batch by its number, frozen encoders, Eq. 2, one optimiser step.

Order, windows, drops, timesteps and noise follow from the seed and the step, so a run that was stopped goes on from its
newest checkpoint exactly as it would have, on as many GPUs as there are then.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
from collections.abc import Iterator
from pathlib import Path

import torch

from magdiff_curation.clips.atomic import write_atomic
from magdiff_model.alignments import alphas_by_layer
from magdiff_model.checkpoints import load_pipeline, save_pipeline
from magdiff_model.data.latents import LatentSamples, made_by
from magdiff_model.data.loader import batches
from magdiff_model.data.samples import ClipSamples
from magdiff_model.data.shards import find_shards
from magdiff_model.training.checkpoints import check_room, newest_checkpoint, save_checkpoint
from magdiff_model.training.distributed import join, whole
from magdiff_model.training.memory import device_bytes, estimate
from magdiff_model.training.progress import Progress
from magdiff_model.training.settings import TrainSettings
from magdiff_model.training.setup import run_sha256, with_alignments
from magdiff_model.training.tracking import Tracking, check_tracker
from magdiff_model.training.trainer import Trainer, half_precision, micro_batch_seed
from magdiff_model.training.validation import held_out_loss, held_out_settings, sample_grid

CHECKPOINTS = "checkpoints"


def train(settings: TrainSettings) -> None:
    """Train, and leave a pipeline in `settings.output`.

    Raises:
        ValueError: shards, base or an earlier run in the output folder do not fit; nothing was done.
    """
    with join(settings.device) as ranks:
        check_tracker(settings.tracker)
        torch.manual_seed(settings.data.seed)  # the new parts' first values
        pipeline = with_alignments(load_pipeline(settings.base), settings)
        shards = find_shards(settings.shards)
        read = (pipeline.subject_settings(), pipeline.latent_size(), pipeline.scheduler.config.num_train_timesteps)
        if settings.latents == "none":
            samples = ClipSamples(shards, settings.data, *read)
        else:
            made = made_by(Path(settings.base), settings.latents, settings.data, pipeline.subject_settings())
            samples = LatentSamples(shards, settings.data, *read, made=made)
        held_out = None
        if settings.data.held_out_clips:
            held_out = ClipSamples(shards, held_out_settings(settings.data), *read, held_out=True)
        if settings.latents == "none" or held_out:
            pipeline.to(ranks.device)
        else:
            pipeline.unet.to(ranks.device)
        if settings.precision == "fp64":
            for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.image_encoder):
                part.double()
        half = half_precision(settings, ranks.device)
        if settings.half_encoders and half and ranks.device.type == "cuda":
            for part in (pipeline.vae, pipeline.text_encoder, pipeline.image_encoder):
                torch.nn.Module.to(part, half)
        needed = estimate(pipeline, settings, ranks.device.type, ranks.count) if settings.dry_run else None
        trainer = Trainer(pipeline, settings, ranks)
        ranks.say(_summary(trainer, samples, settings))
        if needed:
            ranks.say(needed.describe(ranks.device.type, device_bytes(ranks.device)))
            return
        identity = run_sha256(settings, shards)
        _resume(trainer, settings, identity)
        _run(trainer, samples, held_out, settings, identity)


def _run(
    trainer: Trainer, samples: ClipSamples, held_out: ClipSamples | None, settings: TrainSettings, identity: str
) -> None:
    """Take the steps that are left."""
    ranks, checking = trainer.ranks, settings.validation
    first = len(trainer.losses)
    tracking = Tracking(settings.output, settings.tracker, first) if ranks.is_first else None
    progress = Progress(trainer, first, settings.steps, settings.batch_size)
    share = {"rank": ranks.number, "num_ranks": ranks.count, "accumulate": settings.accumulate}
    stream = batches(samples, settings.batch_size, first, settings.steps, settings.workers, **share)
    trainer.unet.train()
    skipped = bad = 0
    with _on_sigterm() as told_to_stop:
        for step in range(first + 1, settings.steps + 1):
            micro_batches, keys = [], []
            for number in range(settings.accumulate):
                with progress.waiting():
                    batch = next(stream)
                for clip in batch.skipped:
                    print(f"step {step}: skipped {clip}", flush=True)
                skipped += len(batch.skipped)
                keys += batch.keys
                # Dropout's; once the batch is there, since starting a loader draws a number too.
                torch.manual_seed(micro_batch_seed(settings.data.seed, step, ranks.number, number))
                micro_batches.append(trainer.encode(batch))
            norm = trainer.step(micro_batches)
            stop, all_skipped = ranks.total(bool(told_to_stop), skipped)
            if all_skipped > settings.data.max_skipped:
                raise ValueError(
                    f"{all_skipped:.0f} samples were skipped, over data.max_skipped ({settings.data.max_skipped}); "
                    "they are named above"
                )
            bad = 0 if math.isfinite(norm) else bad + 1
            if bad:
                _refuse_more(bad, step, norm, keys, trainer)
            last = step == settings.steps
            more = {}
            if held_out and _due(step, checking.every):
                with trainer.shown_weights():
                    more["held_out_loss"] = held_out_loss(trainer, held_out, checking.timesteps)
            if held_out and _due(step, checking.samples_every):
                with trainer.shown_weights():
                    grid = sample_grid(trainer, held_out)
                if tracking:
                    print(f"look at {tracking.picture(step, 'held_out', grid)}", flush=True)
            if more or last or step % settings.log_every == 0:
                values = progress.scalars(step, norm) | more
                ranks.say(progress.line(step, values))
                if tracking:
                    tracking.scalars(step, values)
            if stop or last or step % settings.checkpoints.every == 0:
                _save(trainer, samples, settings, identity)
            if stop and not last:
                ranks.say(f"told to stop: saved after step {step}; the same command goes on from there")
                break
        else:
            _export(trainer, settings)
    if tracking:
        tracking.close()


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _refuse_more(bad: int, step: int, norm: float, keys: list[str], trainer: Trainer) -> None:
    """Tell of a step without a finite gradient, and end the run where there were too many in a row."""
    chosen = trainer.settings.optimizer
    if trainer.scaler.is_enabled() and bad <= chosen.max_bad_steps:
        trainer.ranks.say(f"step {step}: fp16 overflowed; skipped, loss scale now {trainer.scaler.get_scale():g}")
        return
    where = [key for keys_of_rank in trainer.ranks.gather(keys) for key in keys_of_rank]
    told = f"step {step}: the gradient is {norm} on clips {where}"
    if bad > chosen.max_bad_steps:
        raise ValueError(
            f"{told}, {bad} steps in a row: lower optimizer.learning_rate (now {chosen.learning_rate:g}) or train in "
            "fp32; the checkpoints are from before"
        )
    trainer.ranks.say(f"{told}; skipped")


def _summary(trainer: Trainer, samples: ClipSamples, settings: TrainSettings) -> str:
    total, trained = (sum(p.numel() for p in some) for some in (trainer.unet.parameters(), trainer.trained.values()))
    epochs = settings.steps * settings.batch_size / len(samples)
    ranks = trainer.ranks
    return (
        f"{trained / 1e6:.2f}M of the UNet's {total / 1e6:.2f}M parameters train, on {len(samples)} clips for "
        f"{epochs:.1f} epochs, on {ranks.count} x {ranks.device}"
    )


def _resume(trainer: Trainer, settings: TrainSettings, identity: str) -> None:
    """Go on from the newest valid checkpoint, if there is any.

    Raises:
        ValueError: the run there has other settings, or not all ranks see the same checkpoints; or a new run has no
            room for its own.
    """
    root = settings.output / CHECKPOINTS
    checkpoint = newest_checkpoint(root, trainer.ranks.say)
    steps = trainer.ranks.gather(checkpoint.step if checkpoint else 0)
    if len(set(steps)) > 1:
        raise ValueError(f"ranks see checkpoints of steps {steps} in {root}: it has to lie where all nodes see it")
    if not checkpoint:
        if trainer.ranks.is_first:
            check_room(root, trainer.checkpoint_bytes())
        return
    if checkpoint.values["run_sha256"] != identity:
        raise ValueError(f"{root} is of a run with other settings: choose another --output, or delete that folder")
    trainer.restore(checkpoint)
    trainer.ranks.say(f"going on after step {checkpoint.step} of {checkpoint.folder}")


def _save(trainer: Trainer, samples: ClipSamples, settings: TrainSettings, identity: str) -> None:
    step = len(trainer.losses)
    tensors, values = trainer.state()
    if trainer.ranks.is_first:
        epoch, position = divmod(step * settings.batch_size, len(samples))
        values |= {"run_sha256": identity, "epoch": epoch, "position": position}
        save_checkpoint(settings.output / CHECKPOINTS, step, tensors, values, settings.checkpoints.keep)


def _export(trainer: Trainer, settings: TrainSettings) -> None:
    """Write the pipeline in diffusers' layout, with a model card."""
    pipeline, unet = trainer.pipeline, trainer.unet
    with trainer.shown_weights():
        state = {name: whole(value.detach()).to("cpu", copy=True) for name, value in unet.state_dict().items()}
    if not trainer.ranks.is_first:
        return
    exported = type(unet).from_config(unet.config)
    exported.load_state_dict(state)
    pipeline.register_modules(unet=exported)
    save_pipeline(pipeline, settings.output)
    write_atomic(settings.output / "losses.json", json.dumps(trainer.losses).encode())
    for name, (alpha_text, alpha_image) in alphas_by_layer(exported).items():
        print(f"{name}: alpha_text {alpha_text:.3f}, alpha_image {alpha_image:.3f}")
    print(f"the trained pipeline is in {settings.output}", flush=True)


@contextlib.contextmanager
def _on_sigterm() -> Iterator[list[int]]:
    """Yield a list that is no longer empty once the process was asked to end."""
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)
