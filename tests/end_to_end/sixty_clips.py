"""A world of 60 clips, how it is curated, and what must be there in the end whatever happened on the way."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from magdiff_curation.clips.index import load_shard_list
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset

CURATE = Path(__file__).parents[2] / "pipelines" / "curate.py"
NUM_CLIPS = 60
SHOWN = (".tar", ".json", ".png")
"""What must be the same to the byte: shards, indexes, their list, the summary and the picture of them."""


def write_world(folder: Path) -> Path:
    return write_dataset(folder, DatasetSettings(num_clips=NUM_CLIPS, seed=14, width=160, height=128))


def options(manifest: Path, output: Path | str) -> list[str]:
    settings = ["--filters.min-short-side-px", "128", "--shard-megabytes", "1"]
    return ["--source", str(manifest), "--output", str(output), *settings]


def check_all_there_once(output: Path) -> None:
    rows = pq.read_table(io.BytesIO((output / "ledger.parquet").read_bytes())).to_pylist()
    assert sorted(row["source"] for row in rows) == [f"videos/{index:05d}.mp4" for index in range(NUM_CLIPS)]
    keys = [clip.record.key for shard in load_shard_list(output).shards for clip in ShardReader(output / shard)]
    assert len(set(keys)) == len(keys) == sum(row["status"] == "kept" for row in rows) > 0


def stage_workers(nodes: list[Any]) -> list[int]:
    """Return the process ids of the workers on some nodes of a test's cluster."""
    raylets = [str(info.process.pid) for node in nodes for info in node.all_processes["raylet"]]
    command = ["pgrep", "--full", "ray::StageWorker", "--parent", ",".join(raylets)]
    return [int(pid) for pid in subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()]
