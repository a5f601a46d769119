"""pipelines/encode_latents.py on Ray: killed and run again, it leaves what one process would have written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from model.conftest import toy_clip
from model.data.support import write_set
from model.training.runs import losses, run
from tests_support import ZOO

from magdiff_model.config import parse
from magdiff_model.data.shards import find_shards
from magdiff_model.encode_clips import ClipEncoder
from magdiff_model.training.settings import TrainSettings

ROOT = ZOO.parents[1]
SAME = ("--data.num-frames", "4", "--data.frame-stride", "2", "--data.window-starts", "2", "--workers", "0")


def start(shards: Path, base: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "pipelines/encode_latents.py", "--shards", str(shards), "--base", base, *SAME, *more]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_encoding_that_was_killed_goes_on_and_training_takes_what_it_left(tiny_base: str, tmp_path: Path) -> None:
    clips = [toy_clip(number) for number in range(12)]
    shards = write_set(tmp_path / "set", [clips[start : start + 2] for start in range(0, 12, 2)])
    plan = start(shards, tiny_base, "--dry-run")
    said = plan.communicate()[0]
    assert plan.returncode == 0, said
    assert "6 of 6 shards to encode: 12 clips, at most 2 samples each" in said
    assert not list(shards.glob("latents-*"))

    killed = start(shards, tiny_base)
    until = time.monotonic() + 120
    while not list(shards.glob("latents-*/*.index.json")):
        assert killed.poll() is None, killed.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    there = {path: path.stat().st_mtime_ns for path in shards.glob("latents-*/*.index.json")}
    assert 1 <= len(there) < 6

    again = start(Path(os.path.relpath(shards, ROOT)), os.path.relpath(tiny_base, ROOT))
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert "12 clips" not in said, "what is there is passed over"
    assert "0 cannot be; train with --latents fp32" in said
    assert all(path.stat().st_mtime_ns == made for path, made in there.items())

    written = {path.name: path.read_bytes() for path in shards.glob("latents-*/*")}
    assert len(written) == 6 * 2 + 2
    settings = parse(TrainSettings, ["--shards", str(shards), "--base", tiny_base, *SAME], "train")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the command had: other numbers of threads round differently
    encoder = ClipEncoder(settings, torch.device("cpu"))
    for shard in find_shards(settings.shards):
        encoder.write(shard)
    torch.set_num_threads(threads)
    for path in shards.glob("latents-*/*"):
        assert written[path.name] == path.read_bytes(), path.name

    told = run(shards, tiny_base, tmp_path / "run", "--data.window-starts", 2, "--latents", "fp32", "--steps", 2,
               "--batch-size", 4)  # fmt: skip
    assert "on 12 clips" in told
    assert len(losses(tmp_path / "run")) == 2
