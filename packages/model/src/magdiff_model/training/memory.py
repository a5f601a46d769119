"""What a step takes, by part and at its peak, found without taking it: for `--dry-run`.

The trainer's own code runs on tensors without memory (`fake_tensors.py`): the encoders, the loss and its backward pass,
under autocast and with checkpointing as in a run, while what is alive is counted. Full size takes ten seconds and less
than 1 GB.

Not counted: what kernels take and give back by themselves (workspaces, repacked weights), gaps between tensors, CUDA's
context, sample grids. `GAPS` and `BESIDE` leave room for these. `bench/memory.py` measures how good that is.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils.checkpoint import checkpoint

from magdiff_model.alignments import Trainable, choose_trainable
from magdiff_model.data.batch import Batch
from magdiff_model.pipeline import MagDiffPipeline
from magdiff_model.training.fake_tensors import Live, forward_and_again, operators, size_of, without_memory
from magdiff_model.training.settings import TrainSettings
from magdiff_model.training.step import DiffusionStep, Encoded, encode
from magdiff_model.training.trainer import half_precision

GAPS = 1.05
"""Memory is cut up by what comes and goes; so much of the peak is asked for."""
BESIDE = {"cuda": 1_500_000_000, "cpu": 1_000_000_000}
"""Bytes of CUDA's context with the kernels' workspaces; of Python with its libraries."""


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes on one rank."""

    parameters: int
    """The UNet's; with sharding, this rank's part of each."""
    encoders: int
    """The frozen VAE and CLIP."""
    gradients: int
    """Of what trains, once all are there."""
    moments: int
    """AdamW's two."""
    moving_average: int
    gathered: int
    """With sharding: what is whole at one time, with its gradients."""
    inputs: int
    """What the encoders made of all micro-batches of a step; on a CPU the last one's pictures too."""
    activations: int
    """The most that one micro-batch's forward and backward pass hold beside all this."""
    phases: dict[str, int]
    """Peak of everything together while encoding, in the forward and backward pass (training), while updating."""

    @property
    def peak(self) -> int:
        """Return the most bytes at any time of a step."""
        return max(self.phases.values())

    def describe(self, device_type: str, available: int) -> str:
        """Return a table in GB, and whether that fits in a device's bytes."""
        rows = {entry.name.replace("_", " "): getattr(self, entry.name) for entry in fields(self)}
        rows |= {f"peak while {name}": size for name, size in rows.pop("phases").items()}
        table = [f"  {name:22} {size / 1e9:8.2f} GB" for name, size in rows.items() if size]
        needed = self.peak * GAPS + BESIDE[device_type]
        verdict = (
            f"{needed / 1e9:.1f} GB with gaps and libraries fit in {available / 1e9:.1f} GB"
            if needed <= available
            else f"{needed / 1e9:.1f} GB with gaps and libraries do not fit in {available / 1e9:.1f} GB; what takes "
            "less: --gradient-checkpointing, a larger --accumulate, --half-encoders, --sharding full"
        )
        return "\n".join([*table, f"  {verdict}"])


def device_bytes(device: torch.device) -> int:
    """Return how much memory a device has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def estimate(
    pipeline: MagDiffPipeline, settings: TrainSettings, device_type: str, num_ranks: int = 1
) -> MemoryEstimate:
    """Return what one rank's step takes, from the second on, when AdamW's moments are there.

    Args:
        pipeline: what would train, not yet spread over ranks. Its weights may be on any device, or on none (meta);
            nothing is changed.
        settings: of the run.
        device_type: where it would run, "cuda" or "cpu"; it need not be there.
        num_ranks: how many would train together.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    names = ("unet", "vae", "text_encoder", "image_encoder")
    half = half_precision(settings, torch.device(device_type))
    narrow = half if settings.half_encoders and device_type == "cuda" else None
    faked = {name: without_memory(mode, getattr(pipeline, name), None if name == "unet" else narrow) for name in names}
    unet: Any = faked["unet"].train()
    trainable = choose_trainable(unet, settings.optimizer.trainable)
    trained = trainable.everything()

    pieces = num_ranks if settings.sharding == "full" else 1
    parameters, gradients = _pieces(unet.parameters(), pieces), _pieces(trained, pieces)
    from_latents = settings.latents != "none"
    encoders = sum(_pieces(faked[name].parameters(), 1) for name in names[1:])
    if from_latents and device_type == "cuda" and not settings.data.held_out_clips:
        encoders = 0  # they stay where they were loaded
    moving_average = gradients if settings.optimizer.ema_decay else 0
    gathered = _gathered(unet, device_type) if pieces > 1 else 0
    staying = parameters + encoders + 2 * gradients + moving_average

    autocast = torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None)
    if settings.gradient_checkpointing:
        contexts = partial(forward_and_again, device_type)
        unet.enable_gradient_checkpointing(partial(checkpoint, use_reentrant=False, context_fn=contexts))
    # DDP's buckets and earlier micro-batches: gradients that are all there before the backward pass begins.
    early = num_ranks > 1 or settings.accumulate > 1
    clips = settings.batch_size // (num_ranks * settings.accumulate)
    with mode:
        with Live() as encoding, operators(device_type), autocast:
            batch = _batch(pipeline, settings, clips)
            stand_in: Any = SimpleNamespace(
                **{**pipeline.components, **faked}, config=pipeline.config, subject_settings=pipeline.subject_settings
            )
            encoded = encode(stand_in, batch, torch.device("cpu"))
        step = DiffusionStep(unet, pipeline.scheduler)
        with Live() as training:
            for parameter in trained:
                parameter.register_post_accumulate_grad_hook(_drop_gradient if early else training.set_aside)
            with operators(device_type), autocast:
                loss = step(*(getattr(encoded, entry.name) for entry in fields(Encoded)))
            loss.backward()
    one = size_of(vars(encoded))
    inputs = settings.accumulate * one + (size_of(vars(batch)) if device_type == "cpu" else 0)
    return MemoryEstimate(
        parameters=parameters,
        encoders=encoders,
        gradients=gradients,
        moments=2 * gradients,
        moving_average=moving_average,
        gathered=gathered,
        inputs=inputs,
        activations=training.peak_beside,
        phases={
            # Of the last step's gradients DDP's buckets are left.
            "encoding": staying
            + (gradients if num_ranks > pieces else 0)
            + (settings.accumulate - 1) * one
            + (one if from_latents else encoding.peak),
            "training": staying + gathered + inputs + (gradients if early else 0) + training.peak,
            "updating": staying + inputs + gradients + _updating(trainable, device_type) // pieces,
        },
    )


def _batch(pipeline: MagDiffPipeline, settings: TrainSettings, clips: int) -> Batch:
    """Return a micro-batch of the shapes that training reads; with `multi_slot` one whose every slot is filled."""
    frames = settings.data.num_frames
    slots = frames if settings.data.multi_slot else 1
    with unset_fake_temporarily():
        filled = (torch.arange(frames) < slots).repeat(clips, 1)
    side, subject = pipeline.config.size_px, pipeline.subject_settings()
    channels, height, width = pipeline.latent_size()
    return Batch(
        keys=[""] * clips,
        captions=[""] * clips,
        frames=torch.empty(clips, frames, side, side, 3, dtype=torch.uint8),
        filled=filled,
        pyramid=tuple(torch.empty(clips * slots, size, size, 4, dtype=torch.uint8) for size in subject.sizes_px()),
        clip_pictures=torch.empty(clips, slots, subject.clip_size_px, subject.clip_size_px, 4, dtype=torch.uint8),
        noise=torch.empty(clips, channels, frames, height, width),
        timesteps=torch.zeros(clips, dtype=torch.int64),
    )


def _drop_gradient(parameter: Tensor) -> None:
    parameter.grad = None


def _gathered(unet: Any, device_type: str) -> int:
    """Return what FSDP2 has whole at one time.

    What is in no block stays so from its first use to its last. Of the blocks it is one with its gradients; a GPU
    gathers the next one meanwhile, and still spreads the last one's gradients.
    """
    blocks = [_whole(block) for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks)]
    most = max(map(sum, pairwise(blocks))) if device_type == "cuda" else max(blocks)
    return _whole(unet) - sum(blocks) + most


def _whole(module: nn.Module) -> int:
    return sum(size_of(value) * (2 if value.requires_grad else 1) for value in module.parameters())


def _updating(trainable: Trainable, device_type: str) -> int:
    """Return what AdamW makes beside its moments: the second's roots, of a group on a GPU, elsewhere twice of one."""
    if device_type == "cuda":
        return max(size_of(group) for group in vars(trainable).values())
    return 2 * max(size_of(value) for value in trainable.everything())


def _pieces(parameters: Iterable[Tensor], num_pieces: int) -> int:
    """Return bytes of one piece of each; a first dimension that cannot be cut evenly is padded."""
    if num_pieces == 1:
        return size_of(list(parameters))
    return sum(math.ceil(len(value) / num_pieces) * value[0].nbytes for value in parameters)
