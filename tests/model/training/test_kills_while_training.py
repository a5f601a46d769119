"""Training killed with SIGKILL, again and again: the same weights, moments, scale and losses as if nothing happened."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from model.training.processes import start
from model.training.runs import last_checkpoint, losses, small

from magdiff_model.data.samples import DataSettings
from magdiff_model.training.settings import CheckpointSettings, OptimizerSettings, TrainSettings

STEPS = 60


def steps_told(told: Path) -> int:
    """Return how many steps a run has told of; -1 before there is a process."""
    return sum(line.startswith("step ") for line in told.read_text().splitlines()) if told.is_file() else -1


def kill_when(ready: Callable[[], bool], after_seconds: float, settings: TrainSettings, told: Path) -> None:
    """Start a run, and kill it some time after `ready` said so."""
    told.unlink(missing_ok=True)
    process = start(settings, told)
    while process.is_alive() and not ready():
        time.sleep(0.001)
    time.sleep(after_seconds)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, told.read_text()


def to_the_end(settings: TrainSettings, told: Path) -> list[float]:
    """Train, and return the seconds that each step took; the first one's with all that comes before it."""
    told.unlink(missing_ok=True)
    process = start(settings, told)
    times: list[float] = []  # since the process is there, and of each step
    while process.is_alive():
        while len(times) <= steps_told(told):
            times.append(time.monotonic())
        time.sleep(0.001)
    process.join()
    assert process.exitcode == 0, told.read_text()
    return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.slow
def test_twenty_kills_change_no_bit_of_a_run(shards: Path, tiny_base: str, tmp_path: Path) -> None:
    whole = small(
        shards,
        tiny_base,
        tmp_path / "whole",
        steps=STEPS,
        precision="fp16",  # the loss scale is part of the state
        log_every=1,
        data=DataSettings(frame_stride=2, num_frames=2),
        checkpoints=CheckpointSettings(every=3),
        optimizer=OptimizerSettings(learning_rate=1e-3, ema_decay=0.9, schedule="cosine", warmup_steps=5),
    )
    told = tmp_path / "told.txt"
    seconds = to_the_end(whole, told)

    killed = replace(whole, output=tmp_path / "killed")
    saves = killed.output / "checkpoints"
    chance = random.Random(7)
    for num_steps in (0, 0, 0, *(chance.randrange(1, 5) for _ in range(10))):  # while starting; at any moment of a step
        after = chance.uniform(0, seconds[num_steps])
        kill_when(lambda least=num_steps: steps_told(told) >= least, after, killed, told)  # type: ignore[misc]
    torn = 0
    for _ in range(7):  # while a checkpoint is written, or named, or an old one removed
        before = set(saves.glob(".step-*"))
        after = chance.uniform(0, 0.1)
        kill_when(lambda before=before: bool(set(saves.glob(".step-*")) - before), after, killed, told)  # type: ignore[misc]
        torn += bool(set(saves.glob(".step-*.tmp")) - before)
    assert torn, "none was killed before its checkpoint had its name"

    to_the_end(killed, told)
    assert "going on after step" in told.read_text()
    assert losses(killed.output) == losses(whole.output)
    assert len(losses(killed.output)) == STEPS
    assert last_checkpoint(killed.output) == last_checkpoint(whole.output)
    weights = [(run.output / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() for run in (killed, whole)]
    assert weights[0] == weights[1]
