"""Samples -> the batches of one rank, in worker processes that stay for the whole run.

Which samples a rank takes in a step follows from the step (`order.py`), one micro-batch at a time, so nothing is held
for steps to come and results are the same for any number of workers. A sample that cannot be read arrives as the error
that says so, in its turn.
"""

from __future__ import annotations

import collections
import contextlib
import time
import traceback
from collections.abc import Generator, Iterator
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from magdiff_model.data.batch import Batch, LatentBatch, collate
from magdiff_model.data.dead_readers import reader_death
from magdiff_model.data.order import rank_numbers

AnyBatch = Batch | LatentBatch


class Samples(Protocol):
    """What batches are made of: sample number -> a batch of one."""

    @property
    def node_groups(self) -> int:
        """Pieces of an epoch that nodes serve."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> AnyBatch: ...


def batches(
    samples: Samples,
    batch_size: int,
    first_step: int,
    last_step: int,
    workers: int,
    rank: int = 0,
    num_ranks: int = 1,
    accumulate: int = 1,
) -> Generator[AnyBatch, None, None]:
    """Yield a rank's micro-batches of steps `first_step` to `last_step` (exclusive), `accumulate` a step.

    They are the same for any number of workers, each of which decodes on one thread. Whoever stops early waits, when
    this is closed, for the batches that workers have begun.

    Raises:
        ValueError: the batch cannot be cut evenly; or, when its turn comes, a damaged sample, by name.
        OSError: a worker died.
    """
    sampler = _Numbers(samples, batch_size, first_step, last_step, rank, num_ranks, accumulate)
    loader: DataLoader[AnyBatch | Exception] = DataLoader(
        _MicroBatches(samples),
        sampler=sampler,
        batch_size=None,
        num_workers=workers,
        generator=torch.Generator(),  # else starting one draws a number of the process's own
        multiprocessing_context=_context(workers),
    )
    return _raised(loader, sampler)


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


class _MicroBatches(Dataset["AnyBatch | Exception"]):
    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, numbers: list[int]) -> AnyBatch | Exception:
        try:
            parts: list[Any] = [self.samples[number] for number in numbers]
            joined: AnyBatch = collate(parts)
            return joined
        except (ValueError, OSError) as error:
            error.add_note(traceback.format_exc())  # the message stays one for the user
            return error


def _raised(loader: DataLoader[AnyBatch | Exception], sampler: _Numbers) -> Generator[AnyBatch, None, None]:
    items = iter(loader)
    try:
        for item in items:
            if isinstance(item, Exception):
                raise item
            yield item
    except ConnectionError as error:  # one died while it handed something over
        raise _cause_of(error) from error
    except RuntimeError as error:
        death = reader_death(error)
        if death is None:
            raise
        raise death from error
    except (GeneratorExit, ValueError, OSError):
        # Workers that are told to end while they hand over a batch abort, loudly: let them hand over what is due.
        sampler.stopped = True
        with contextlib.suppress(RuntimeError):
            collections.deque(items, maxlen=0)
        raise


def _cause_of(error: ConnectionError) -> OSError:
    """Return torch's word that a reader died, which interrupts whatever runs; the error itself, where none comes."""
    try:
        time.sleep(2)
    except RuntimeError as word:
        return reader_death(word) or error
    return error


def _context(workers: int) -> str | None:
    # Forked workers would inherit torch's thread pools in whatever state they are.
    return "spawn" if workers else None
