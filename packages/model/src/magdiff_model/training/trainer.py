"""The state of a run, and its two moves: one optimiser step, and to or from a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor, distribute_tensor

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_model.data.batch import Batch, LatentBatch
from magdiff_model.pipeline import MagDiffPipeline
from magdiff_model.training.checkpoints import Checkpoint
from magdiff_model.training.distributed import Ranks, gathered, last_of_several, spread, whole
from magdiff_model.training.settings import TrainSettings
from magdiff_model.training.setup import make_optimizer
from magdiff_model.training.step import DiffusionStep, Encoded, encode, from_latents

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class Trainer:
    """The UNet with its optimiser, schedule, scaler and moving average, on this rank.

    Raises:
        ValueError: a precision that does not go with the sharding, or on a CPU with the number of frames.
    """

    def __init__(self, pipeline: MagDiffPipeline, settings: TrainSettings, ranks: Ranks) -> None:
        self.settings, self.ranks, self.pipeline = settings, ranks, pipeline
        self.half = half_precision(settings, ranks.device)
        if self.half is torch.float16 and settings.sharding == "full":
            raise ValueError("precision fp16 does not go with sharding full: use bf16, or sharding none")
        # oneDNN 3.12's bf16 weight gradient of a convolution over 3 frames reads past the end of 2, and may crash.
        if self.half is torch.bfloat16 and ranks.device.type == "cpu" and settings.data.num_frames == 2:
            raise ValueError("data.num_frames 2 has wrong gradients in bf16 on a CPU: use precision fp32, or 3 frames")
        self.unet = pipeline.unet
        if settings.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
        make_optimizer(self.unet, settings)  # freezes before parameters are spread
        self.step_loss = spread(DiffusionStep(self.unet, pipeline.scheduler), ranks, settings.sharding)
        self.optimizer, self.schedule = make_optimizer(self.unet, settings)
        self.trained = {name: value for name, value in self.unet.named_parameters() if value.requires_grad}
        decay = settings.optimizer.ema_decay
        self.ema = EMAModel(self.trained.values(), decay=decay) if decay else None
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=self.half is torch.float16)
        self.losses: list[float] = []
        """One a step; NaN where a step was skipped."""

    def autocast(self) -> torch.autocast:
        """Return the context of forward passes."""
        return torch.autocast(self.ranks.device.type, self.half or torch.bfloat16, enabled=self.half is not None)

    def encode(self, batch: Batch | LatentBatch) -> Encoded:
        """Return what the frozen encoders make of a micro-batch, or made of it beforehand."""
        if isinstance(batch, LatentBatch):
            return from_latents(self.pipeline, batch, self.ranks.device)
        with self.autocast():
            return encode(self.pipeline, batch, self.ranks.device)

    def loss(self, encoded: Encoded) -> Tensor:
        """Return a micro-batch's mean loss."""
        with self.autocast():
            loss: Tensor = self.step_loss(*(getattr(encoded, field.name) for field in fields(Encoded)))
        return loss

    def step(self, micro_batches: list[Encoded]) -> float:
        """Take one optimiser step, and return the norm of its gradient; one that is not finite changes no weight."""
        total = torch.zeros((), dtype=torch.float64, device=self.ranks.device)
        for number, encoded in enumerate(micro_batches):
            last = number == len(micro_batches) - 1
            with last_of_several(self.step_loss, last):
                loss = self.loss(encoded)
                self.scaler.scale(loss / len(micro_batches)).backward()
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)
        most = self.settings.optimizer.max_gradient_norm
        norm = whole(torch.nn.utils.clip_grad_norm_(self.trained.values(), most)).item()
        if math.isfinite(norm):
            self.scaler.step(self.optimizer)
            if self.ema:
                self.ema.step(self.trained.values())
        self.optimizer.zero_grad()  # now: while the next batch is encoded nobody needs them
        self.scaler.update()
        self.schedule.step()
        (summed,) = self.ranks.total(total.item() / len(micro_batches))
        self.losses.append(summed / self.ranks.count if math.isfinite(norm) else math.nan)
        return norm

    def sample(self, prompt: str, frames: Frames, masks: Masks, **options: Any) -> Frames:
        """Return a video, uint8 [F, S, S, 3], made by UniPC; where parameters are sharded, all ranks have to ask."""
        # Keys and values are projected outside of the blocks, which only gather themselves for their forward pass.
        sharded = self.settings.sharding == "full"
        with gathered(self.step_loss):
            made = self.pipeline(prompt, frames, masks, solver="unipc", cache_keys_values=not sharded, **options)
        video: Frames = made.frames[0]
        return video

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Return tensors by part and name, whole and on the CPU, and the plain values.

        Every rank must ask; only the first gets the optimiser's part.
        """
        optimizer: dict[str, Any] = get_optimizer_state_dict(self.unet, self.optimizer, options=_WHOLE)
        tensors = {
            "weights": {name: whole(value.detach()).cpu() for name, value in self.trained.items()},
            "optimizer": {
                f"{name}:{slot}": value
                for name, slots in optimizer.get("state", {}).items()
                for slot, value in slots.items()
            },
        }
        if self.ema:
            names = zip(self.trained, self.ema.shadow_params, strict=True)
            tensors["ema"] = {name: whole(value).cpu() for name, value in names}
        values = {
            "losses": self.losses,
            "optimizer_groups": optimizer.get("param_groups"),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema_steps": self.ema.optimization_step if self.ema else 0,
        }
        return tensors, values

    def checkpoint_bytes(self) -> int:
        """Return about how large a checkpoint is: the trained weights, two moments of each, their average."""
        copies = 4 if self.ema else 3
        return copies * sum(value.numel() * value.element_size() for value in self.trained.values())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a run where a checkpoint left it."""
        tensors, values = checkpoint.tensors, checkpoint.values
        with torch.no_grad():
            for name, value in self.trained.items():
                value.copy_(_like(value, tensors["weights"][name]))
            if self.ema:
                for shadow, name in zip(self.ema.shadow_params, self.trained, strict=True):
                    shadow.copy_(_like(shadow, tensors["ema"][name]))
                self.ema.optimization_step = values["ema_steps"]
        moments: dict[str, Any] = {}
        for name, value in tensors["optimizer"].items():
            parameter, _, slot = name.partition(":")
            moments.setdefault(parameter, {})[slot] = value
        set_optimizer_state_dict(
            self.unet, self.optimizer, {"state": moments, "param_groups": values["optimizer_groups"]}, options=_WHOLE
        )
        self.schedule.load_state_dict(values["schedule"])
        self.scaler.load_state_dict(values["scaler"])
        self.losses = list(values["losses"])

    @contextmanager
    def shown_weights(self) -> Iterator[None]:
        """Have the weights in the UNet that are exported: the moving average, if there is one; in evaluation mode."""
        if self.ema:
            self.ema.store(self.trained.values())
            self.ema.copy_to(self.trained.values())
        self.unet.eval()
        try:
            yield
        finally:
            self.unet.train()
            if self.ema:
                self.ema.restore(self.trained.values())


def half_precision(settings: TrainSettings, device: torch.device) -> torch.dtype | None:
    """Return what forward passes compute in beside fp32; None for fp32 and fp64 throughout."""
    if settings.precision == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
        return torch.bfloat16 if torch.cpu.get_capabilities().get("amx_bf16") else None
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(settings.precision)


def micro_batch_seed(seed: int, step: int, rank: int, micro_batch: int) -> int:
    """Return the seed of one micro-batch's dropout."""
    return seed * 1_000_003 + step + (rank * 4096 + micro_batch) * (2**40 + 15)


def _like(place: Tensor, value: Tensor) -> Tensor:
    value = value.to(place.device)
    return distribute_tensor(value, place.device_mesh, place.placements) if isinstance(place, DTensor) else value
