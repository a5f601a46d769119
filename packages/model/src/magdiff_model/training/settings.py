"""Every setting of training. The defaults are the paper's (Supplement B), where it says something."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from magdiff_model.alignments import TrainableSet
from magdiff_model.data.samples import DataSettings
from magdiff_model.data.subjects import SubjectViews
from magdiff_model.encoding import EmptySlots
from magdiff_model.models.apa import ApaMode
from magdiff_model.models.hfa import HfaInit
from magdiff_model.models.image_tokens import ImagePromptKind

TrainPrecision = Literal["auto", "fp32", "bf16", "fp16", "fp64"]
Sharding = Literal["none", "full"]
Tracker = Literal["tensorboard", "wandb", "none"]


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
    ema_decay: float = 0.0
    """Decay of the trained weights' moving average, such as 0.9999; it is then what is exported. 0: none."""
    max_bad_steps: int = 3
    """So many steps in a row without a finite gradient are skipped and reported; one more stops the run."""


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """What a run that stopped goes on from."""

    every: int = 500
    """Steps between two checkpoints; the last step and SIGTERM make one too."""
    keep: int = 3
    """So many of the newest stay."""


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """What a run shows of itself on clips that it does not train on (data.held_out_clips)."""

    every: int = 0
    """Steps between two measurements of the held-out loss; 0: never."""
    timesteps: tuple[int, ...] = (100, 300, 500, 700, 900)
    """It is measured at each of these, with the same noise every time."""
    samples_every: int = 0
    """Steps between two grids of generated and edited held-out clips; 0: never."""
    samples: int = 4
    """Clips in a grid."""
    sampling_steps: int = 16
    """UniPC steps a video."""
    guidance_scale: float = 7.5
    """Text guidance of the grids."""
    image_guidance_scale: float = 1.0
    """Subject guidance of the grids."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Train MagDiff on shards."""

    shards: tuple[str, ...]
    """Folders that pipelines/curate.py wrote, tars with their indexes, globs, brace patterns, .txt lists, or URLs
    (s3://, http://) of these."""
    base: str = "zoo/toyworld"
    """The pipeline to start from: a folder, such as zoo/toyworld."""
    output: Path = Path("data/magdiff")
    """Receives the trained pipeline, `metrics.jsonl`, sample grids, and `checkpoints/` to go on from."""
    config: Path | None = None
    """A YAML file of these settings, such as pipelines/configs/toyworld_train.yaml; the command line overrides it."""
    latents: Literal["none", "fp32", "fp16"] = "none"
    """Train from what pipelines/encode_latents.py kept beside the shards, in fp32, or in fp16 in half the space."""
    steps: int = 50_000
    """Optimiser steps."""
    batch_size: int = 64
    """Clips a step, over all GPUs."""
    accumulate: int = 1
    """Micro-batches a step on each GPU: more need less memory, and give the same gradient."""
    workers: int = 2
    """Processes a GPU that read and decode clips; 0 does it in the training process. Results are the same."""
    precision: TrainPrecision = "auto"
    """auto: bf16 where the hardware has it, else fp32; fp16 scales its loss; fp64 is for tests."""
    device: str = "auto"
    """auto: the GPU where there is one."""
    sharding: Sharding = "none"
    """none: every GPU holds the whole UNet (DDP); full: parameters, gradients and moments are spread (FSDP2)."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: far less memory, more time."""
    half_encoders: bool = False
    """Hold the frozen encoders and VAE in the step's half precision, on a GPU."""
    log_every: int = 10
    """Steps between two lines of progress."""
    tracker: Tracker = "tensorboard"
    """Where scalars and grids go beside metrics.jsonl and samples/."""
    dry_run: bool = False
    """Say what would train, on what, and whether it fits; do nothing."""
    data: DataSettings = field(default_factory=DataSettings)
    """Frames and drops."""
    alignments: AlignmentSettings = field(default_factory=AlignmentSettings)
    """SDA, APA, HFA."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    """Optimiser."""
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)
    """Checkpoints."""
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    """Held-out loss and sample grids."""
