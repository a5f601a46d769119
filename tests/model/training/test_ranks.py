"""Several ranks: the same samples, the same losses, the same run, however many there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model.conftest import toy_clip
from model.data.support import write_set
from model.training.runs import losses, run

STEPS = 50
SAME = ("--batch-size", 12, "--precision", "fp64", "--optimizer.learning-rate", 1e-3, "--log-every", 10)


@pytest.fixture(scope="module")
def clips_24(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = [toy_clip(index) for index in range(24)]
    return write_set(tmp_path_factory.mktemp("24"), [clips[:10], clips[10:17], clips[17:]])


@pytest.mark.slow
def test_one_two_and_three_ranks_have_the_same_losses_and_go_on_from_one_another(
    clips_24: Path, tiny_base: str, tmp_path: Path
) -> None:
    for ranks in (0, 2, 3):
        told = run(clips_24, tiny_base, tmp_path / str(ranks), *SAME, "--steps", STEPS, ranks=ranks)
        assert f"on {max(ranks, 1)} x cpu" in told
    one, two, three = (losses(tmp_path / name) for name in ("0", "2", "3"))
    assert len(one) == STEPS
    assert two == pytest.approx(one, rel=0, abs=1e-8)
    assert three == pytest.approx(one, rel=0, abs=1e-8)

    for ranks in (0, 3):
        output = tmp_path / f"2 then {ranks}"
        run(clips_24, tiny_base, output, *SAME, "--steps", 7, ranks=2)
        told = run(clips_24, tiny_base, output, *SAME, "--steps", 14, ranks=ranks)
        assert "going on after step 7" in told
        assert losses(output) == pytest.approx(one[:14], rel=0, abs=1e-8)


@pytest.mark.slow
def test_sharded_parameters_train_and_resume_as_replicated_ones(clips_24: Path, tiny_base: str, tmp_path: Path) -> None:
    same = (*SAME, "--optimizer.ema-decay", 0.9, "--data.held-out-clips", 3, "--validation.every", 5)
    grid = ("--validation.samples-every", 5, "--validation.samples", 1, "--validation.sampling-steps", 1)
    run(clips_24, tiny_base, tmp_path / "replicated", *same, "--steps", 10, ranks=2)
    run(clips_24, tiny_base, tmp_path / "sharded", *same, *grid, "--steps", 5, "--sharding", "full", ranks=2)
    run(clips_24, tiny_base, tmp_path / "sharded", *same, "--steps", 8, "--sharding", "full", ranks=3)
    told = run(clips_24, tiny_base, tmp_path / "sharded", *same, "--steps", 10, ranks=0)
    assert "going on after step 8" in told
    assert losses(tmp_path / "sharded") == pytest.approx(losses(tmp_path / "replicated"), rel=0, abs=1e-8)
    for output in ("replicated", "sharded"):
        assert (tmp_path / output / "README.md").is_file()
    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("replicated", "sharded")
    ]
    held_out = [[row["held_out_loss"] for row in some if "held_out_loss" in row] for some in rows]
    assert held_out[0] == pytest.approx(held_out[1], rel=0, abs=1e-8)
