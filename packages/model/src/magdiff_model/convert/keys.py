"""The account of a conversion: what became of every key, on either side.

A key of the new UNet is *taken* from the source or *new*; a key of the source that goes nowhere is *ignored*, for a
stated reason. Nothing else is possible: a missing key, another shape, or a key with no place ends the conversion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

Status = Literal["taken", "new", "ignored"]

PARTS = {
    "temp_convs": "temporal convolutions",
    "temporal": "temporal attention",
    "temp_attentions": "temporal attention",
    "transformer_in": "temporal attention",
    "resnets": "resnets",
    "attentions": "transformers",
    "downsamplers": "samplers",
    "upsamplers": "samplers",
}
"""A module in a key -> the part of the UNet; the first that a key has counts, all others are "in, time, out"."""

ZEROED = re.compile(
    r"temp_convs\.\d+\.conv4\.3\.|\.temporal\.attention\.to_out\.0\.|(temp_attentions\.\d+|transformer_in)\.proj_out\."
)
"""The last layer of every temporal module: at zero, the module adds nothing until it trains."""
_NORMS = re.compile(r"\.norm\d?\.|\.conv\d\.0\.")


@dataclass(frozen=True)
class Weights:
    """A source's UNet as MagDiff sees it."""

    family: str
    settings: dict[str, Any]
    """Of MagDiffUNet3DConditionModel."""
    tensors: Mapping[str, Tensor]
    """By MagDiff's names."""
    files: list[Path]
    names: Mapping[str, str] = field(default_factory=dict)
    """MagDiff's name -> the source's, where they differ."""
    new_modules: tuple[str, ...] = ()
    """Modules that such a source does not have."""
    text_encoder: Mapping[str, Tensor] = field(default_factory=dict)
    """A text encoder of the source's own, by its names; empty: the pipeline's."""
    ignored: list[Key] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What whoever converts should know."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key, and what became of it."""

    name: str
    """In the new UNet; in the source where ignored."""
    status: Status
    part: str
    shape: tuple[int, ...]
    source: str | None = None
    """In the source."""
    why: str | None = None
    """How a new one starts; why one is ignored."""

    @property
    def parameters(self) -> int:
        """Return how many numbers it has."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    def record(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self) | {"parameters": self.parameters}


def part_of(name: str) -> str:
    """Return the part of the UNet that a key belongs to."""
    modules = name.split(".")
    return next((part for module, part in PARTS.items() if module in modules), "in, time, out")


def start_of(name: str) -> str:
    """Return how a new key starts."""
    if ZEROED.search(name):
        return "zero, so that its module adds nothing"
    return "one (weight), zero (bias)" if _NORMS.search(name) else "random, PyTorch's default"


def account(unet: nn.Module, weights: Weights) -> list[Key]:
    """Return what becomes of every key; `unet` may be on the meta device.

    Raises:
        ValueError: a key is missing, has another shape, or has no place in the UNet.
    """
    ours = {name: tuple(value.shape) for name, value in unet.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in weights.tensors.items()}
    names = {name: weights.names.get(name, name) for name in theirs}
    surplus = [names[name] for name in theirs if name not in ours]
    missing = [name for name in ours if name not in theirs and not set(name.split(".")) & set(weights.new_modules)]
    other = [f"{names[n]} {theirs[n]} instead of {ours[n]}" for n in theirs if n in ours and theirs[n] != ours[n]]
    for what, found in (
        ("lack weights", missing),
        ("have weights that MagDiff's UNet has no place for", surplus),
        ("have other shapes", other),
    ):
        if found:
            raise ValueError(
                f"the weights are not those of the {weights.family} UNet that the config describes: they {what}, "
                f"{len(found)} in all, such as {'; '.join(found[:3])}. Get the checkpoint again, or check its config"
            )
    keys = [
        Key(name=name, status="taken", part=part_of(name), shape=shape, source=names[name])
        if name in theirs
        else Key(name=name, status="new", part=part_of(name), shape=shape, why=start_of(name))
        for name, shape in ours.items()
    ]
    return keys + weights.ignored


def summary(keys: list[Key]) -> str:
    """Return the table of parts: how many keys, and millions of parameters, of each kind."""
    kinds: tuple[Status, ...] = ("taken", "new", "ignored")
    lines = [f"{'':24}" + "".join(f"{kind:>24}" for kind in kinds)]
    parts = list(dict.fromkeys(key.part for key in keys))
    for part in [*parts, "all"]:
        row = f"{part:24}"
        for kind in kinds:
            chosen = [key for key in keys if key.status == kind and part in (key.part, "all")]
            size = sum(key.parameters for key in chosen) / 1e6
            row += f"{f'{len(chosen)} keys  {size:9.2f}M' if chosen else '-':>24}"
        lines.append(row)
    for kind in ("new", "ignored"):
        reasons: dict[str, int] = {}
        for key in keys:
            if key.status == kind:
                reasons[str(key.why)] = reasons.get(str(key.why), 0) + 1
        lines += [f"{kind}: {count} keys: {why}" for why, count in reasons.items()]
    return "\n".join(lines)
