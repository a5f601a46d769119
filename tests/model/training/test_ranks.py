"""Several ranks: the same samples, the same losses, the same run, however many there are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from model.conftest import toy_clip
from model.data.support import write_set
from model.training.processes import consumed, train_on
from model.training.runs import losses, run, small

from magdiff_model.data.order import epoch_order
from magdiff_model.training.settings import CheckpointSettings, OptimizerSettings, TrainSettings, ValidationSettings

STEPS = 50
SHARDS = (10, 7, 7)
KEYS = [f"clip{index:03d}" for index in range(sum(SHARDS))]
BATCH = len(KEYS) // 2


@pytest.fixture(scope="module")
def clips_24(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = [toy_clip(index, num_frames=8) for index in range(len(KEYS))]
    return write_set(tmp_path_factory.mktemp("24"), [clips[:10], clips[10:17], clips[17:]])


@pytest.fixture(scope="module")
def settings(clips_24: Path, tiny_base: str, tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    return small(
        clips_24,
        tiny_base,
        tmp_path_factory.mktemp("alone"),
        steps=STEPS,
        batch_size=BATCH,
        precision="fp64",
        log_every=10,
        checkpoints=CheckpointSettings(),
        optimizer=OptimizerSettings(learning_rate=1e-3),
    )


@pytest.fixture(scope="module")
def alone(settings: TrainSettings) -> list[float]:
    """The losses of a run on one process."""
    assert "on 1 x cpu" in train_on(1, settings)
    found = losses(settings.output)
    assert len(found) == STEPS
    return found


def in_order(num_steps: int) -> list[str]:
    """Return the keys of a run's first steps, as `epoch_order` has them."""
    clips = [clip for epoch in range(num_steps) for clip in epoch_order(SHARDS, 0, epoch, 2000)]
    return [KEYS[clip] for clip in clips][: num_steps * BATCH]


@pytest.mark.slow
def test_one_two_and_three_ranks_have_the_same_losses(
    settings: TrainSettings, alone: list[float], tmp_path: Path
) -> None:
    same = ("--batch-size", BATCH, "--precision", "fp64", "--optimizer.learning-rate", 1e-3, "--log-every", 10)
    told = run(settings.shards[0], settings.base, tmp_path / "2", *same, "--steps", STEPS, ranks=2)  # by torchrun
    assert "on 2 x cpu" in told
    assert "on 3 x cpu" in train_on(3, replace(settings, output=tmp_path / "3"))
    for name in ("2", "3"):
        assert losses(tmp_path / name) == pytest.approx(alone, rel=0, abs=1e-8)
    for output, ranks in ((settings.output, 1), (tmp_path / "3", 3)):
        taken = consumed(output, ranks)
        assert [key for step in range(1, STEPS + 1) for key in taken[step]] == in_order(STEPS)


@pytest.mark.slow
def test_a_run_that_stops_on_two_ranks_within_an_epoch_takes_the_rest_of_its_clips_on_one_or_three(
    settings: TrainSettings, alone: list[float], tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped"
    told = train_on(2, replace(settings, output=stopped), stop_after=7)
    assert "told to stop: saved after step 7" in told
    for ranks in (1, 3):
        output = tmp_path / f"2, then {ranks}"
        shutil.copytree(stopped, output)
        assert "going on after step 7" in train_on(ranks, replace(settings, output=output, steps=14))

        before, after = consumed(output, 2), consumed(output, ranks)
        assert list(before) == list(range(1, 8))
        assert list(after) == list(range(8, 15))
        taken = [key for steps in (before, after) for keys in steps.values() for key in keys]
        epochs = [taken[first : first + len(KEYS)] for first in range(0, len(taken), len(KEYS))]
        assert len(epochs) == 7
        assert [sorted(epoch) for epoch in epochs] == [KEYS] * 7, "each clip once in each, the one of the stop too"
        assert taken == in_order(14)
        assert losses(output) == pytest.approx(alone[:14], rel=0, abs=1e-8)


@pytest.mark.slow
def test_sharded_parameters_train_and_resume_as_replicated_ones(settings: TrainSettings, tmp_path: Path) -> None:
    checking = ValidationSettings(every=2, timesteps=(200, 700))
    replicated = replace(
        settings,
        output=tmp_path / "replicated",
        steps=10,
        optimizer=OptimizerSettings(learning_rate=1e-3, ema_decay=0.9),
        data=replace(settings.data, held_out_clips=3),
        validation=checking,
    )
    train_on(2, replicated)
    sharded = replace(replicated, output=tmp_path / "sharded", sharding="full")
    train_on(2, replace(sharded, steps=5))
    grids = replace(checking, samples_every=6, samples=1, sampling_steps=1)
    train_on(3, replace(sharded, steps=8, validation=grids))  # step 8 is measured and saved
    assert "going on after step 8" in train_on(1, replace(sharded, sharding="none"))
    outputs = (replicated.output, sharded.output)
    assert losses(outputs[1]) == pytest.approx(losses(outputs[0]), rel=0, abs=1e-8)
    assert all((output / "README.md").is_file() for output in outputs)
    rows = [[json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()] for output in outputs]
    held_out = [[row["held_out_loss"] for row in some if "held_out_loss" in row] for some in rows]
    assert len(held_out[0]) == 5
    assert held_out[1] == pytest.approx(held_out[0], rel=0, abs=1e-8)
    assert (outputs[1] / "samples" / "held_out-00000006.png").is_file()
