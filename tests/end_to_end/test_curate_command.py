"""The curation command as people type it, without and with a cluster."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from magdiff_curation.clips.index import load_shard_list
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.toyworld.captions import NOUNS
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset

PIPELINES = Path(__file__).parents[2] / "pipelines"
BIN = Path(sys.executable).parent
SMALL = ["--filters.min-short-side-px", "128"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = DatasetSettings(num_clips=5, seed=8, width=160, height=128)
    manifest = write_dataset(tmp_path_factory.mktemp("world"), settings)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    del rows[3]["answer"]
    (manifest.parent / "videos" / "00004.mp4").write_bytes(b"not a video")
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def curate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PIPELINES / "curate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_a_run_without_a_cluster_leaves_shards_indexes_ledger_and_a_picture(world: Path, tmp_path: Path) -> None:
    options = ["--source", world, "--output", tmp_path, *SMALL]
    run = curate(*options)
    assert run.returncode == 0, run.stderr
    assert "5 inputs: 3 kept, 0 dropped, 2 failed" in run.stdout
    assert "clips/s" in run.stdout
    rows = {row["source"]: row for row in pq.read_table(tmp_path / "ledger.parquet").to_pylist()}
    assert rows["videos/00003.mp4"]["reason"] == "answer_missing"
    assert rows["videos/00004.mp4"]["reason"] == "source_unreadable"
    listing = load_shard_list(tmp_path)
    clips = [clip for shard in listing.shards for clip in ShardReader(tmp_path / shard)]
    assert sorted(str(clip.record.provenance["source"]) for clip in clips) == [
        f"videos/0000{index}.mp4" for index in range(3)
    ]
    assert (tmp_path / "overview.png").stat().st_size > 1000
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*") if path.suffix != ".html"}
    again = curate(*options)
    assert "5 decided by earlier runs, 0 to do" in again.stdout
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*") if path.suffix != ".html"} == before
    other = curate(*options, "--filters.min-area-ratio", "0.07")
    assert other.returncode == 1
    assert "choose another output folder" in other.stderr


@pytest.mark.slow
def test_the_zoos_models_curate_without_answers_or_boxes(world: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in world.read_text().splitlines()[:3]]
    bare = [{"video": row["video"], "caption": row["caption"]} for row in rows]
    bare[2]["caption"] = ""
    manifest = world.with_name("bare.jsonl")
    manifest.write_text("".join(json.dumps(row) + "\n" for row in bare))
    run = curate("--preset", "toyworld", "--source", manifest, "--output", tmp_path, *SMALL)
    assert run.returncode == 0, run.stderr
    assert "3 inputs: 3 kept" in run.stdout
    ledger = {row["source"]: row for row in pq.read_table(tmp_path / "ledger.parquet").to_pylist()}
    for row, bare_row in zip(rows, bare, strict=True):
        found = ledger[row["video"]]
        assert found["label"] in NOUNS[row["class_name"]]
        assert json.loads(found["models"])["answer"].startswith("blip2@")
        assert bool(found["made_caption"]) == (not bare_row["caption"])
    clips = [clip for shard in load_shard_list(tmp_path).shards for clip in ShardReader(tmp_path / shard)]
    assert all(clip.record.caption and clip.masks.any(axis=(1, 2)).all() for clip in clips)


def test_a_model_that_cannot_be_had_stops_the_run_before_it_starts(world: Path, tmp_path: Path) -> None:
    options = ["--answer.image-text.model", "no/such/folder"]
    run = curate("--preset", "toyworld", "--source", world, "--output", tmp_path / "out", *options)
    assert run.returncode == 1
    assert run.stderr.strip() == (
        f"curate: answer.image_text.model: there is no folder 'no/such/folder' on node {socket.gethostname()}: "
        "put it on storage that every node sees, or give s3://bucket/folder or a hub id"
    )
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(world: Path, tmp_path: Path) -> None:
    run = curate("--source", world, "--output", tmp_path / "out", *SMALL, "--dry-run")
    assert run.returncode == 0, run.stderr
    assert "would send 5 clips through normalize -> answer -> label -> mask -> commit" in run.stdout
    assert not (tmp_path / "out").exists()


def test_help_explains_the_settings() -> None:
    run = curate("--help")
    assert run.returncode == 0
    assert "Algorithm 1's theta" in " ".join(run.stdout.split())


def test_a_mistake_in_the_settings_is_one_clear_line(tmp_path: Path) -> None:
    config = tmp_path / "x.yaml"
    config.write_text("filters: {min_area: 0.1}")
    run = curate("--config", config)
    assert run.returncode == 1
    assert (
        run.stderr.strip()
        == f"curate: {config}: filters: there is no setting 'min_area'; did you mean 'min_area_ratio'?"
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_ray_job_submit_runs_the_pipeline_as_typed(tmp_path: Path) -> None:
    shutil.copytree(PIPELINES, tmp_path / "pipelines")
    write_dataset(tmp_path / "data" / "toyworld", DatasetSettings(num_clips=2, seed=9))
    dashboard = free_port()
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}", "RAY_AUTH_MODE": "token"}
    environment |= {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    (tmp_path / "token").write_text("0" * 64)

    def ray(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "ray"), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400, check=False
        )

    start = ["start", "--head", f"--port={free_port()}", f"--dashboard-port={dashboard}", "--node-ip-address=127.0.0.1"]
    started = ray(*start, "--dashboard-host=127.0.0.1", "--include-dashboard=true", "--num-cpus=2")
    assert started.returncode == 0, started.stderr
    try:
        job = ray("job", "submit", "pipelines/curate.py")
    finally:
        ray("stop", "--force")
    assert job.returncode == 0, job.stdout + job.stderr
    assert "2 inputs: 2 kept" in job.stdout
    output = tmp_path / "data" / "curated"
    assert sum(load_shard_list(output).num_samples) == 2
    assert (output / "ledger.parquet").is_file()
