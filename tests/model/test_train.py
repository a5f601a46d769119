import dataclasses
import hashlib
import multiprocessing
import re
import sys
import time
from pathlib import Path

import pytest
import torch
from tests_support import ZOO

from magdiff_model.checkpoints import load_pipeline, save_pipeline
from magdiff_model.config import parse
from magdiff_model.data.samples import DataSettings
from magdiff_model.train import main
from magdiff_model.training import step
from magdiff_model.training.loop import train
from magdiff_model.training.settings import AlignmentSettings, CheckpointSettings, OptimizerSettings, TrainSettings

CONFIGS = ZOO.parents[1] / "pipelines" / "configs"


def settings(shards: Path, output: Path, **changes: object) -> TrainSettings:
    small = TrainSettings(
        shards=(str(shards),),
        base=str(ZOO),
        output=output,
        steps=4,
        batch_size=2,
        workers=0,
        precision="fp32",
        checkpoints=CheckpointSettings(every=2),
        log_every=2,
        data=DataSettings(frame_stride=2, multi_slot=0.5),
        optimizer=OptimizerSettings(learning_rate=1e-3),
    )
    return dataclasses.replace(small, **changes)


def weights_sha256(output: Path) -> str:
    return hashlib.sha256((output / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()).hexdigest()


def test_a_stopped_run_goes_on_to_the_same_weights_and_losses(shards: Path, tmp_path: Path, monkeypatch) -> None:
    base = load_pipeline(ZOO)
    with_dropout = type(base.unet).from_config(base.unet.config, temporal_dropout=0.1)
    with_dropout.load_state_dict(base.unet.state_dict())
    base.unet = with_dropout
    save_pipeline(base, tmp_path / "base")
    start = str(tmp_path / "base")
    train(settings(shards, tmp_path / "whole", base=start))
    real, calls = step.diffusion_loss, []

    def stop_at_the_fourth(*arguments: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(step, "diffusion_loss", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        train(settings(shards, tmp_path / "stopped", base=start))
    assert not (tmp_path / "stopped" / "unet").exists()
    train(settings(shards, tmp_path / "stopped", base=start))
    assert len(calls) == 6, "the run went on after step 2"
    assert weights_sha256(tmp_path / "whole") == weights_sha256(tmp_path / "stopped")
    whole, stopped = ((tmp_path / name / "losses.json").read_text() for name in ("whole", "stopped"))
    assert whole == stopped


def test_training_moves_the_new_parts_and_leaves_resnets_vae_and_clip_as_they_were(
    shards: Path, tmp_path: Path
) -> None:
    train(settings(shards, tmp_path))
    before, after = load_pipeline(ZOO), load_pipeline(tmp_path)
    old, new = before.unet.state_dict(), after.unet.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert not [name for name in changed if ".resnets." in name or "samplers" in name]
    assert new["conv_in_cond.weight"].abs().max() > 0
    for part in ("vae", "text_encoder", "image_encoder"):
        ours, theirs = getattr(after, part).state_dict(), getattr(before, part).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_without_image_conditions_the_model_has_neither_branch(shards: Path, tmp_path: Path) -> None:
    train(settings(shards, tmp_path, steps=2, alignments=AlignmentSettings(apa="text_only", hfa=False)))
    names = load_pipeline(tmp_path).unet.state_dict()
    assert not [name for name in names if "image" in name or "hfa" in name or "conv_in_cond" in name]


def test_a_run_with_other_settings_in_the_folder_is_refused(shards: Path, tmp_path: Path) -> None:
    train(settings(shards, tmp_path, steps=2))
    with pytest.raises(ValueError, match="run with other settings"):
        train(settings(shards, tmp_path, steps=2, batch_size=1))


def test_a_dry_run_tells_and_writes_nothing(shards: Path, tmp_path: Path, capsys) -> None:
    train(settings(shards, tmp_path / "out", dry_run=True))
    assert "parameters train, on 6 clips" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_base_that_is_not_there_is_named(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere is no pipeline.*zoo/toyworld"):
        train(settings(shards, tmp_path, base="nowhere"))


def run_main(monkeypatch: pytest.MonkeyPatch, shards: Path, output: Path, *options: str) -> None:
    """Run the command in this process."""
    data = ["--data.frame-stride", "2", "--steps", "3", "--batch-size", "2", "--tracker", "none"]
    arguments = ["--shards", str(shards), "--base", str(ZOO), "--output", str(output), *data, *options]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    main()


def test_a_reader_that_dies_in_the_middle_of_a_step_is_told_in_one_line(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = multiprocessing.active_children()

    def kill_the_reader(*arguments: object) -> torch.Tensor:
        (reader,) = set(multiprocessing.active_children()) - set(others)
        reader.kill()
        time.sleep(60)  # the news of its death arrive here
        raise AssertionError("nobody noticed")

    monkeypatch.setattr(step, "diffusion_loss", kill_the_reader)
    with pytest.raises(SystemExit) as ended:
        run_main(monkeypatch, shards, tmp_path, "--workers", "1")
    told = re.sub(r"\d+", "7", str(ended.value))
    assert told == (
        "train: a process that reads clips died (DataLoader worker (pid 7) is killed by signal: Killed), perhaps for "
        "want of memory: run again with fewer workers or smaller micro-batches; that goes on from the last checkpoint"
    )


def test_a_mistake_of_the_users_is_told_in_one_line_and_a_bug_with_its_traceback(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"^train: a batch of 2 cannot be cut evenly into 3 micro-batches"):
        run_main(monkeypatch, shards, tmp_path, "--workers", "0", "--accumulate", "3")
    monkeypatch.setattr(step, "diffusion_loss", lambda *_: torch.zeros(2) + torch.zeros(3))
    with pytest.raises(RuntimeError, match="must match the size"):
        run_main(monkeypatch, shards, tmp_path, "--workers", "0")


def test_the_config_file_sets_and_the_command_line_overrides(tmp_path: Path) -> None:
    config = str(CONFIGS / "toyworld_train.yaml")
    parsed = parse(TrainSettings, ["--config", config, "--shards", "s", "--data.multi-slot", "0"], "train")
    assert parsed.base == "zoo/toyworld"
    assert parsed.data.frame_stride == 2
    assert parsed.data.multi_slot == 0
    assert parsed.shards == ("s",)


@pytest.mark.parametrize(("name", "micro_batch"), [("paper_train", 8), ("single_gpu_train", 2)])
def test_the_presets_for_gpus_are_the_papers_batch_and_steps(name: str, micro_batch: int) -> None:
    parsed = parse(TrainSettings, ["--config", str(CONFIGS / f"{name}.yaml"), "--shards", "s"], "train")
    ranks = 8 if name == "paper_train" else 1
    assert parsed.batch_size == 64 == micro_batch * parsed.accumulate * ranks
    assert (parsed.steps, parsed.optimizer.learning_rate) == (50_000, 5e-5)
    assert parsed.precision == ("fp16" if name == "paper_train" else "bf16")
    assert parsed.alignments == AlignmentSettings()


def test_an_unknown_setting_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("optimizer:\n  learning_rat: 1.0\n")
    with pytest.raises(ValueError, match="did you mean 'learning_rate'"):
        parse(TrainSettings, ["--config", str(tmp_path / "c.yaml"), "--shards", "s"], "train")


def test_the_defaults_are_the_papers() -> None:
    paper = parse(TrainSettings, ["--shards", "s"], "train")
    assert (paper.steps, paper.batch_size, paper.optimizer.learning_rate) == (50_000, 64, 5e-5)
    assert (paper.data.num_frames, paper.data.prompt_drop, paper.data.multi_slot) == (8, 0.15, 0)
    assert paper.alignments == AlignmentSettings(apa="adaptive", hfa=True, hfa_ratios=(1.5, 1.25, 1.0), sda=True)
