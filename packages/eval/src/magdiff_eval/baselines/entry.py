"""What a baseline is: the repositories that it needs, its published settings, and two functions, load and sample."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magdiff_eval.baselines.request import Request
from magdiff_eval.layouts.item import Task

Values = Mapping[str, Any]
"""Setting -> its value in this run."""
Pixels = NDArray[np.floating[Any]]
"""Frames as diffusers returns them, [F, H, W, 3] from 0 to 1."""

SCHEDULER = ("scheduler/scheduler_config.json",)
TOKENIZER = tuple(
    f"tokenizer/{name}" for name in ("vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json")
)
TEXT_ENCODER = ("text_encoder/config.json", "text_encoder/model.safetensors")
IMAGE_ENCODER = ("image_encoder/config.json", "image_encoder/model.safetensors")
FEATURE_EXTRACTOR = ("feature_extractor/preprocessor_config.json",)
UNET = ("unet/config.json", "unet/diffusion_pytorch_model.safetensors")
VAE = ("vae/config.json", "vae/diffusion_pytorch_model.safetensors")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A repository of the hub, in a folder called as its id is after the owner."""

    repository: str
    """Its id."""
    files: tuple[str, ...]
    """What is needed of it: configs and safetensors, never a pickle."""
    pipeline_class: str | None = None
    """What its model_index.json must name; None where it has none."""
    note: str = ""
    """What to do before the command works."""

    @property
    def name(self) -> str:
        """Return its folder's name."""
        return self.repository.partition("/")[2]

    def command(self, folder: Path, files: Sequence[str] | None = None) -> str:
        """Return the command that gets these files, or all, into the weights folder."""
        place = shlex.quote(str(folder / self.name))
        note = f" ({self.note})" if self.note else ""
        return f"hf download {self.repository} {' '.join(files or self.files)} --local-dir {place}{note}"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value and who published it."""

    value: int | float | str
    source: str


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A method that MagDiff is compared with."""

    name: str
    title: str
    """As the paper's tables have it, where they do."""
    tasks: tuple[Task, ...]
    """What it can do."""
    parts: tuple[Part, ...]
    settings: Mapping[str, Setting]
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What it is, by the names that the paper's tables have."""
    frame_rate: float | None
    """Frames per second of its own videos; None: the source's."""
    image: str
    """How it sees the source's frames."""
    prompt: str
    """How it takes the prompt."""
    notes: tuple[str, ...] = ()
    """What else a reader of its scores must know."""
    load: Callable[[Path, Values], Any]
    """Weights folder, settings -> pipeline, in fp32 on the CPU."""
    sample: Callable[[Any, Values, Request], Pixels]
    """Pipeline, settings, request -> all frames that it makes."""
