"""Curation killed with SIGKILL, again and again: nothing lost, nothing twice, the same bytes as if nothing happened."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from magdiff_curation.clips.index import load_shard_list
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset

HERE = Path(__file__).parent
CURATE = HERE.parents[1] / "pipelines" / "curate.py"
NUM_CLIPS = 60


def options(manifest: Path, output: Path) -> list[str]:
    settings = ["--filters.min-short-side-px", "128", "--shard-megabytes", "1"]
    return ["--source", str(manifest), "--output", str(output), *settings]


def products(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.iterdir() if path.suffix in (".tar", ".json", ".png")}


def outcomes(output: Path) -> int:
    return len(list((output / "work" / "outcomes").rglob("*.json")))


def samples(output: Path) -> set[str]:
    """Return the samples being committed: written, or being written, without an outcome."""
    decided = {path.stem for path in (output / "work" / "outcomes").rglob("*.json")}
    return {path.name for path in (output / "work" / "samples").glob("*") if path.stem not in decided}


def kill_when(ready: Callable[[], bool], manifest: Path, output: Path) -> bool:
    """Start a run, kill its driver once `ready` says so, and return whether it was killed (not done before)."""
    process = subprocess.Popen([sys.executable, str(CURATE), *options(manifest, output)], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if ready():
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.002)
    return False


@pytest.mark.slow
def test_thirty_kills_lose_nothing_double_nothing_and_change_no_byte(tmp_path: Path) -> None:
    settings = DatasetSettings(num_clips=NUM_CLIPS, seed=10, width=160, height=128)
    manifest = write_dataset(tmp_path / "world", settings)
    reference, output = tmp_path / "reference", tmp_path / "killed"
    subprocess.run([sys.executable, str(CURATE), *options(manifest, reference)], check=True, timeout=300)

    chance = random.Random(11)
    kills = 0
    for _ in range(16):  # at random moments: while starting, loading models, or in the middle of clips
        until = time.monotonic() + chance.uniform(1, 25)
        seen = outcomes(output)
        kills += kill_when(
            lambda until=until, seen=seen: time.monotonic() > until or outcomes(output) > seen + 2, manifest, output
        )
    for _ in range(8):  # inside a commit: a new sample is there, or half there, and its outcome is not
        before = samples(output)
        kills += kill_when(lambda before=before: bool(samples(output) - before), manifest, output)
    for write in (1, 2, 3, 4, 5, 6):  # inside packing: shards, indexes, their list, the ledger is half written
        command = [sys.executable, str(HERE / "killed_curate.py"), str(write), *options(manifest, output)]
        killed = subprocess.run(command, stdout=subprocess.DEVNULL, check=False, timeout=300)
        kills += killed.returncode == -signal.SIGKILL
    assert kills == 30

    subprocess.run([sys.executable, str(CURATE), *options(manifest, output)], check=True, timeout=300)
    assert products(output) == products(reference)
    rows = pq.read_table(output / "ledger.parquet").to_pylist()
    assert sorted(row["source"] for row in rows) == [f"videos/{index:05d}.mp4" for index in range(NUM_CLIPS)]
    keys = [clip.record.key for shard in load_shard_list(output).shards for clip in ShardReader(output / shard)]
    assert len(set(keys)) == len(keys) == sum(row["status"] == "kept" for row in rows) > 0
    assert not list(output.rglob("*.tmp"))
