"""Training in processes that are forked from one which has imported everything: they start in a moment.

Ranks find one another as under torchrun, through the environment and a store that the process above them serves.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

from magdiff_model.training.loop import train
from magdiff_model.training.settings import TrainSettings
from magdiff_model.training.step import Encoded
from magdiff_model.training.trainer import Trainer

_FORKED_FROM = multiprocessing.get_context("forkserver")
_FORKED_FROM.set_forkserver_preload(["magdiff_model.training.loop"])
PATIENCE_SECONDS = 600


def start(settings: TrainSettings, told: Path, **more: object) -> BaseProcess:
    """Start a run that prints into the file `told`; `more` is as `_work` takes it."""
    process = _FORKED_FROM.Process(target=_work, args=(settings, told), kwargs=more, daemon=True)
    process.start()
    return process


def train_on(ranks: int, settings: TrainSettings, stop_after: int = 0) -> str:
    """Train on so many ranks, to the end or until one of them is told to stop, and return what was printed.

    What each rank trained on is in the file that `consumed` reads.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    settings.output.mkdir(parents=True, exist_ok=True)
    told = [settings.output / f"rank{rank}_of_{ranks}.txt" for rank in range(ranks)]
    environment = {
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    processes = [
        start(
            settings,
            told[rank],
            environment={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {},
            notes=told[rank].with_suffix(".jsonl"),
            stop_after=stop_after if rank == ranks - 1 else 0,  # one is told, and the others stop with it
        )
        for rank in range(ranks)
    ]
    running = set(processes)
    try:
        while running:
            ended = wait([process.sentinel for process in running], PATIENCE_SECONDS)
            assert ended, "no rank ended"
            running = {process for process in running if process.sentinel not in ended}
            assert all(not process.exitcode for process in processes), "".join(path.read_text() for path in told)
    finally:
        for process in running:
            process.kill()
            process.join()
    return told[0].read_text()


def consumed(output: Path, ranks: int) -> dict[int, list[str]]:
    """Return step -> the keys of the clips that a run on so many ranks took it with, in the ranks' order."""
    steps: dict[int, list[str]] = {}
    for rank in range(ranks):
        for line in (output / f"rank{rank}_of_{ranks}.jsonl").read_text().splitlines():
            step, keys = json.loads(line)
            steps.setdefault(step, []).extend(keys)
    return steps


def _work(
    settings: TrainSettings,
    told: Path,
    environment: Mapping[str, str] | None = None,
    notes: Path | None = None,
    stop_after: int = 0,
) -> None:
    sys.stdout = sys.stderr = told.open("w", buffering=1)
    os.environ.update(environment or {})
    torch.set_num_threads(1)
    if notes:
        _note_steps(notes, stop_after)
    train(settings)


def _note_steps(notes: Path, stop_after: int) -> None:
    """Have every step that is taken note its number and its clips, and one of them tell the process to stop."""
    encode, step = Trainer.encode, Trainer.step
    keys: list[str] = []

    def noting_encode(trainer: Trainer, batch: Any) -> Encoded:
        keys.extend(batch.keys)
        return encode(trainer, batch)

    def noting_step(trainer: Trainer, micro_batches: list[Encoded]) -> float:
        if len(trainer.losses) + 1 == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        norm = step(trainer, micro_batches)
        with notes.open("a") as file:
            file.write(json.dumps([len(trainer.losses), keys]) + "\n")
        keys.clear()
        return norm

    Trainer.encode, Trainer.step = noting_encode, noting_step  # type: ignore[method-assign]
