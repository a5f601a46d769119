"""Samples -> the batches of one rank, in worker processes that stay for the whole run.

Which samples a rank takes in a step follows from the step (`order.py`), one micro-batch at a time, so nothing is held
for steps to come and results are the same for any number of workers. A sample that cannot be read arrives as the error
that says so, in its turn.
"""

from __future__ import annotations

import collections
import contextlib
import traceback
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from magdiff_model.data.order import rank_numbers


@dataclass(frozen=True)
class Batch:
    """B samples; K subject pictures lie in the B x F slots that `filled` marks, in its order."""

    keys: list[str]
    captions: list[str]
    """Dropped ones are empty."""
    frames: Tensor
    """float32 [B, F, 3, S, S] in [-1, 1]."""
    filled: Tensor
    """bool [B, F]."""
    pyramid: tuple[Tensor, ...]
    """float32 [K, 3, s_i, s_i]."""
    clip_pixels: Tensor
    """The first frame's subject for APA, float32 [B, 1, 3, c, c]; with `multi_slot` one a frame, [B, F, 3, c, c]."""
    noise: Tensor
    """float32 [B, 4, F, h, w]."""
    timesteps: Tensor
    """int64 [B]."""
    masks: Tensor | None = None
    """With `frame_masks` the subject in every frame, 0 or 1, float32 [B, F, 1, S, S]."""
    skipped: list[str] = field(default_factory=list)
    """Damaged samples that others stand for, each "key: reason"."""


class Samples(Protocol):
    """What batches are made of: sample number -> a batch of one."""

    @property
    def node_groups(self) -> int:
        """Pieces of an epoch that nodes serve."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Batch: ...


def batches(
    samples: Samples,
    batch_size: int,
    first_step: int,
    last_step: int,
    workers: int,
    rank: int = 0,
    num_ranks: int = 1,
    accumulate: int = 1,
) -> Generator[Batch, None, None]:
    """Yield a rank's micro-batches of steps `first_step` to `last_step` (exclusive), `accumulate` a step.

    They are the same for any number of workers, each of which decodes on one thread. Whoever stops early waits, when
    this is closed, for the batches that workers have begun.

    Raises:
        ValueError: the batch cannot be cut evenly; or, when its turn comes, a damaged sample, by name.
        OSError: a worker died.
    """
    sampler = _Numbers(samples, batch_size, first_step, last_step, rank, num_ranks, accumulate)
    loader: DataLoader[Batch | Exception] = DataLoader(
        _MicroBatches(samples),
        sampler=sampler,
        batch_size=None,
        num_workers=workers,
        generator=torch.Generator(),  # else starting one draws a number of the process's own
        multiprocessing_context=_context(workers),
    )
    return _raised(loader, sampler)


def collate(parts: Sequence[Batch]) -> Batch:
    """Return batches joined to one."""
    return Batch(**{entry.name: _joined([getattr(part, entry.name) for part in parts]) for entry in fields(Batch)})


class _Numbers(Sampler[list[int]]):
    """The numbers of the samples of each micro-batch, worked out when they are asked for."""

    def __init__(
        self, samples: Samples, batch_size: int, first: int, last: int, rank: int, num_ranks: int, accumulate: int
    ) -> None:
        self.steps, self.accumulate, self.stopped = range(first, last), accumulate, False
        self.chosen = (batch_size, len(samples), samples.node_groups, rank, num_ranks, accumulate)
        rank_numbers(first, *self.chosen)  # refuses what does not divide, before anything starts

    def __len__(self) -> int:
        return len(self.steps) * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            if self.stopped:
                return
            yield from rank_numbers(step, *self.chosen)


class _MicroBatches(Dataset["Batch | Exception"]):
    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, numbers: list[int]) -> Batch | Exception:
        try:
            return collate([self.samples[number] for number in numbers])
        except (ValueError, OSError) as error:
            error.add_note(traceback.format_exc())  # the message stays one for the user
            return error


def _raised(loader: DataLoader[Batch | Exception], sampler: _Numbers) -> Generator[Batch, None, None]:
    items = iter(loader)
    try:
        for item in items:
            if isinstance(item, Exception):
                raise item
            yield item
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise ChildProcessError(
            f"a process that reads clips died ({str(error).rstrip('. ')}), perhaps for want of memory: run again with "
            "fewer workers or smaller micro-batches; that goes on from the last checkpoint"
        ) from error
    except (GeneratorExit, ValueError, OSError):
        # Workers that are told to end while they hand over a batch abort, loudly: let them hand over what is due.
        sampler.stopped = True
        with contextlib.suppress(RuntimeError):
            collections.deque(items, maxlen=0)
        raise


def _joined(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, list):
        return [entry for value in values for entry in value]
    if isinstance(first, tuple):
        return tuple(torch.cat(scale) for scale in zip(*values, strict=True))
    return None if first is None else torch.cat(values)


def _context(workers: int) -> str | None:
    # Forked workers would inherit torch's thread pools in whatever state they are.
    return "spawn" if workers else None
