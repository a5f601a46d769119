"""Who this process is among those that train together, and what they do in common. `torchrun` starts them.

Replicated (DDP): every rank holds the UNet, gradients are averaged while they are computed. Sharded (FSDP2): every rank
holds its part of each block, which is gathered when it is needed. Alone, neither is involved.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from magdiff_model.precision import pick_device

PATIENCE = timedelta(hours=1)
"""How long ranks wait for one that saves, samples or reads slowly."""


@dataclass(frozen=True)
class Ranks:
    """This process among `count` others."""

    device: torch.device
    number: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Return whether this rank is the one that writes and prints."""
        return self.number == 0

    def say(self, text: str) -> None:
        """Print a line, once for all ranks."""
        if self.is_first:
            print(text, flush=True)

    def total(self, *values: float) -> list[float]:
        """Return each value summed over the ranks."""
        if self.count == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        found: list[float] = sums.tolist()
        return found

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, in the ranks' order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: Any) -> Any:
        """Return the first rank's value; the others wait until it is there."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]


@contextlib.contextmanager
def join(device: str) -> Iterator[Ranks]:
    """Yield this process's place, from what `torchrun` says in the environment; alone without it."""
    if "RANK" not in os.environ:
        yield Ranks(pick_device(device))
        return
    own = pick_device(device)
    if own.type == "cuda":
        own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(own, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def spread(step: nn.Module, ranks: Ranks, sharding: str) -> nn.Module:
    """Return the module that computes a step's loss, replicated or sharded over the ranks; its UNet is `step.unet`.

    Raises:
        ValueError: sharding over no other rank.
    """
    if sharding == "full":
        if ranks.count == 1:
            raise ValueError("sharding is full, and there is one process: start several with torchrun, or use none")
        mesh = init_device_mesh(ranks.device.type, (ranks.count,))
        unet: Any = step.unet
        for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
            fully_shard(block, mesh=mesh)
        fully_shard(step, mesh=mesh)
        return step
    if ranks.count > 1:
        return DistributedDataParallel(step, gradient_as_bucket_view=True)
    return step


@contextlib.contextmanager
def last_of_several(module: Any, last: bool) -> Iterator[None]:
    """Let gradients stay with their rank until the step's last micro-batch."""
    if isinstance(module, DistributedDataParallel) and not last:
        with module.no_sync():
            yield
        return
    if hasattr(module, "set_requires_gradient_sync"):
        module.set_requires_gradient_sync(last)
    yield


@contextlib.contextmanager
def gathered(module: Any) -> Iterator[None]:
    """Have what is no block's in one piece, for a UNet that is called on its own; blocks see to themselves."""
    if not hasattr(module, "unshard"):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def whole(value: Any) -> Tensor:
    """Return a tensor that may be spread over the ranks in one piece; every rank must ask."""
    found: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return found
