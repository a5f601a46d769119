"""Training killed with SIGKILL, again and again: the same weights, moments, scale and losses as if nothing happened."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from model.training.runs import last_checkpoint, losses, small

from magdiff_model.training.loop import train
from magdiff_model.training.settings import CheckpointSettings, OptimizerSettings, TrainSettings

STEPS = 60


def work(settings: TrainSettings) -> None:
    torch.set_num_threads(1)
    train(settings)


def start(settings: TrainSettings) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")  # which has imported everything once
    context.set_forkserver_preload(["magdiff_model.training.loop"])
    process = context.Process(target=work, args=(settings,))
    process.start()
    return process


def kill_when(ready: Callable[[], bool], settings: TrainSettings) -> bool:
    """Start a run, kill it once `ready` says so, and return whether it was killed (not done before)."""
    process = start(settings)
    while process.is_alive():
        if ready():
            process.kill()
        time.sleep(0.001)
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.slow
def test_twenty_kills_change_no_bit_of_a_run(shards: Path, tiny_base: str, tmp_path: Path) -> None:
    settings = small(
        shards,
        tiny_base,
        tmp_path / "whole",
        steps=STEPS,
        precision="fp16",  # the loss scale is part of the state
        log_every=1,
        checkpoints=CheckpointSettings(every=3),
        optimizer=OptimizerSettings(learning_rate=1e-3, ema_decay=0.9, schedule="cosine", warmup_steps=5),
    )
    whole = start(settings)
    whole.join()
    assert whole.exitcode == 0

    killed = small(shards, tiny_base, tmp_path / "killed", **{
        name: getattr(settings, name) for name in ("steps", "precision", "log_every", "checkpoints", "optimizer")
    })  # fmt: skip
    saves, metrics = killed.output / "checkpoints", killed.output / "metrics.jsonl"
    chance = random.Random(7)
    kills = 0
    for _ in range(13):  # at random moments: while starting, or in the middle of steps
        until = time.monotonic() + chance.uniform(0.5, 4)
        enough = (metrics.stat().st_size if metrics.is_file() else 0) + 4000
        kills += kill_when(
            lambda until=until, enough=enough: (  # type: ignore[misc]
                time.monotonic() > until or (metrics.is_file() and metrics.stat().st_size > enough)
            ),
            killed,
        )
    for _ in range(7):  # while a checkpoint is written
        after = chance.uniform(0, 0.05)
        kills += kill_when(lambda after=after: bool(list(saves.glob(".step-*"))) and not time.sleep(after), killed)  # type: ignore[misc]
    assert kills == 20

    last = start(killed)
    last.join()
    assert last.exitcode == 0
    assert losses(killed.output) == losses(settings.output)
    assert len(losses(killed.output)) == STEPS
    assert last_checkpoint(killed.output) == last_checkpoint(settings.output)
    weights = [
        (output / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
        for output in (killed.output, settings.output)
    ]
    assert weights[0] == weights[1]
