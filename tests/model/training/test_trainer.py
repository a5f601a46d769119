"""One process: what a step does, what is skipped, saved, shown, and what stays as it is."""

from __future__ import annotations

import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from model.training.runs import last_checkpoint, losses, small

from magdiff_model.checkpoints import load_pipeline
from magdiff_model.data.samples import DataSettings
from magdiff_model.training import step as training_step
from magdiff_model.training.checkpoints import newest_checkpoint
from magdiff_model.training.loop import train
from magdiff_model.training.settings import OptimizerSettings, ValidationSettings

FOUR = DataSettings(frame_stride=2, num_frames=4)


def break_loss(monkeypatch: pytest.MonkeyPatch, at: set[int], what: object) -> None:
    """Let the loss of some calls, counted from 1, be another, or call something."""
    real, calls = training_step.diffusion_loss, [0]

    def loss(*arguments: object) -> torch.Tensor:
        calls[0] += 1
        value = real(*arguments)  # type: ignore[arg-type]
        if calls[0] not in at:
            return value
        return what(value) if callable(what) else value * what  # type: ignore[no-any-return,operator]

    monkeypatch.setattr(training_step, "diffusion_loss", loss)


def test_accumulated_micro_batches_take_the_step_of_the_whole_batch(
    shards: Path, tiny_base: str, tmp_path: Path
) -> None:
    for number in (1, 2, 4):
        train(small(shards, tiny_base, tmp_path / str(number), batch_size=4, accumulate=number, precision="fp64"))
    one, two, four = (losses(tmp_path / name) for name in ("1", "2", "4"))
    assert one == pytest.approx(two, abs=1e-10)
    assert one == pytest.approx(four, abs=1e-10)


def test_a_batch_that_cannot_be_cut_evenly_is_refused(shards: Path, tiny_base: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\b4\b.*\b3\b"):
        train(small(shards, tiny_base, tmp_path, batch_size=4, accumulate=3))


def test_two_frames_in_bf16_on_a_cpu_are_refused(shards: Path, tiny_base: str, tmp_path: Path) -> None:
    two = DataSettings(frame_stride=2, num_frames=2)
    with pytest.raises(ValueError, match="num_frames 2 has wrong gradients in bf16 on a CPU: use precision fp32"):
        train(small(shards, tiny_base, tmp_path, steps=1, precision="bf16", device="cpu", data=two))


def test_a_step_without_a_finite_gradient_changes_nothing_and_is_told(
    shards: Path, tiny_base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_loss(monkeypatch, {2}, math.nan)
    train(small(shards, tiny_base, tmp_path))
    told = capsys.readouterr().out
    assert "step 2: the gradient is nan on clips ['clip0" in told
    assert math.isnan(losses(tmp_path)[1])
    assert all(map(math.isfinite, losses(tmp_path)[2:]))
    state = load_pipeline(tmp_path).unet.state_dict()
    assert all(value.isfinite().all() for value in state.values())


def test_too_many_bad_steps_in_a_row_end_the_run(
    shards: Path, tiny_base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_loss(monkeypatch, {3, 4, 5}, math.inf)
    chosen = OptimizerSettings(learning_rate=1e-3, max_bad_steps=1)
    with pytest.raises(ValueError, match=r"step 4.*2 steps in a row.*lower optimizer.learning_rate"):
        train(small(shards, tiny_base, tmp_path, steps=6, optimizer=chosen))
    found = newest_checkpoint(tmp_path / "checkpoints")
    assert found is not None
    assert found.step == 2


def test_sigterm_saves_and_ends_and_the_same_command_goes_on(
    shards: Path, tiny_base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small(shards, tiny_base, tmp_path / "whole"))

    def terminate(value: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return value

    with monkeypatch.context() as patch:
        break_loss(patch, {3}, terminate)
        train(small(shards, tiny_base, tmp_path / "told"))
    assert "saved after step 3; the same command goes on from there" in capsys.readouterr().out
    assert not (tmp_path / "told" / "unet").exists()
    train(small(shards, tiny_base, tmp_path / "told"))
    assert "going on after step 3" in capsys.readouterr().out
    assert last_checkpoint(tmp_path / "told") == last_checkpoint(tmp_path / "whole")
    assert losses(tmp_path / "told") == losses(tmp_path / "whole")


def test_the_moving_average_is_what_is_exported_and_saved(shards: Path, tiny_base: str, tmp_path: Path) -> None:
    chosen = OptimizerSettings(learning_rate=1e-3, ema_decay=0.9)
    train(small(shards, tiny_base, tmp_path, optimizer=chosen))
    found = newest_checkpoint(tmp_path / "checkpoints")
    assert found is not None
    exported = load_pipeline(tmp_path).unet.state_dict()
    for name, average in found.tensors["ema"].items():
        assert torch.equal(exported[name], average)
    assert any(not torch.equal(found.tensors["ema"][name], found.tensors["weights"][name]) for name in exported
               if name in found.tensors["ema"])  # fmt: skip


def test_fp16_scales_its_loss_and_saves_the_scale(shards: Path, tiny_base: str, tmp_path: Path) -> None:
    train(small(shards, tiny_base, tmp_path, precision="fp16", steps=2))
    found = newest_checkpoint(tmp_path / "checkpoints")
    assert found is not None
    assert found.values["scaler"]["scale"] > 1
    assert all(map(math.isfinite, losses(tmp_path)[-1:]))


def test_held_out_clips_are_measured_alike_every_time_and_never_trained_on(
    shards: Path, tiny_base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checking = ValidationSettings(every=2, timesteps=(200, 600), samples_every=4, samples=1, sampling_steps=1)
    nothing = OptimizerSettings(learning_rate=0.0, weight_decay=0.0)
    train(
        small(shards, tiny_base, tmp_path, validation=checking, data=replace(FOUR, held_out_clips=2), optimizer=nothing)
    )
    assert "on 4 clips" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = [row["held_out_loss"] for row in rows if "held_out_loss" in row]
    assert len(found) == 2
    assert found[0] == found[1] > 0
    assert (tmp_path / "samples" / "held_out-00000004.png").stat().st_size > 500


def test_metrics_after_the_checkpoint_of_a_killed_run_are_dropped(
    shards: Path, tiny_base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(value: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        break_loss(patch, {4}, stop)
        with pytest.raises(KeyboardInterrupt):
            train(small(shards, tiny_base, tmp_path, log_every=1))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    train(small(shards, tiny_base, tmp_path, log_every=1))
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


def test_tensorboard_gets_the_scalars(shards: Path, tiny_base: str, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(small(shards, tiny_base, tmp_path, tracker="tensorboard"))
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    names = board.Tags()["scalars"]
    assert {"loss", "steps_per_second", "waiting_for_data", "memory_gb"} <= set(names)
    assert [entry.step for entry in board.Scalars("loss")] == [2, 4]
    assert any(name.startswith("alpha_image/") for name in names)


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_done(
    shards: Path, tiny_base: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="pip install wandb"):
        train(small(shards, tiny_base, tmp_path / "out", tracker="wandb"))
    assert not (tmp_path / "out").exists()


def test_gradient_checkpointing_takes_the_same_steps(shards: Path, tiny_base: str, tmp_path: Path) -> None:
    train(small(shards, tiny_base, tmp_path / "plain"))
    train(small(shards, tiny_base, tmp_path / "checkpointed", gradient_checkpointing=True))
    assert losses(tmp_path / "plain") == losses(tmp_path / "checkpointed")


def test_sharding_over_one_process_is_refused(shards: Path, tiny_base: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="start several with torchrun"):
        train(small(shards, tiny_base, tmp_path, sharding="full"))


def test_a_new_run_without_room_for_its_checkpoints_is_refused_before_its_first_step(
    shards: Path, tiny_base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("magdiff_model.training.checkpoints._free_bytes", lambda _: 1_000_000)
    with pytest.raises(ValueError, match="free"):
        train(small(shards, tiny_base, tmp_path / "out"))
    assert not (tmp_path / "out" / "metrics.jsonl").exists()
