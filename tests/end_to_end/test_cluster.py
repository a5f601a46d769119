"""A cluster of two nodes that loses one, and workers that are killed: nothing lost, nothing twice, the same bytes."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
from object_store import object_store

from magdiff_curation.clips.atomic import list_files
from magdiff_curation.clips.index import load_shard_list
from magdiff_curation.clips.location import location
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.config import CurationSettings, EngineSettings, FilterSettings
from magdiff_curation.pipeline import curate, runtime_environment
from magdiff_curation.runs import past_runs
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset

NUM_CLIPS = 60


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = DatasetSettings(num_clips=NUM_CLIPS, seed=14, width=160, height=128)
    return write_dataset(tmp_path_factory.mktemp("world"), settings)


def settings_for(manifest: Path, output: Path, **engine: bool) -> CurationSettings:
    return CurationSettings(
        source=manifest,
        output=output,
        shard_megabytes=1,
        filters=FilterSettings(min_short_side_px=128),
        engine=EngineSettings(**engine),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def reference(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("reference")
    curate(settings_for(manifest, output))
    return shards(output)


def shards(output: Path) -> dict[str, bytes]:
    names = [name for name in list_files(output) if "/" not in name and name.endswith((".tar", ".json"))]
    return {name: (output / name).read_bytes() for name in names}


def check_all_there_once(output: Path) -> None:
    rows = pq.read_table(io.BytesIO((output / "ledger.parquet").read_bytes())).to_pylist()
    assert sorted(row["source"] for row in rows) == [f"videos/{index:05d}.mp4" for index in range(NUM_CLIPS)]
    keys = [clip.record.key for shard in load_shard_list(output).shards for clip in ShardReader(output / shard)]
    assert len(set(keys)) == len(keys) == sum(row["status"] == "kept" for row in rows) > 0


@pytest.fixture
def bucket_url() -> Iterator[str]:
    with object_store() as url:
        yield url


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["disk", "s3"])
def test_a_node_that_is_lost_in_the_middle_of_a_run_costs_nothing(
    manifest: Path,
    reference: dict[str, bytes],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    place: str,
) -> None:
    output = tmp_path
    if place == "s3":
        output = location(request.getfixturevalue("bucket_url") + "/curated")
    two_nodes = request.getfixturevalue("two_nodes")
    node = two_nodes.add_node(num_cpus=1)

    def lose() -> None:
        while len(list_files(output / "work" / "outcomes")) < NUM_CLIPS // 4:
            time.sleep(0.05)
        two_nodes.remove_node(node, allow_graceful=False)

    loser = threading.Thread(target=lose)
    loser.start()
    curate(settings_for(manifest, output, ship_code=True), address=two_nodes.address)
    loser.join()
    assert past_runs(output / "work" / "runs")[0]["result"]["deaths"] >= 1
    assert shards(output) == reference
    check_all_there_once(output)


@pytest.mark.slow
def test_the_package_travels_with_the_run_where_asked(manifest: Path, tmp_path: Path) -> None:
    def where() -> str:
        import magdiff_curation

        return str(magdiff_curation.__file__)

    for ships in (False, True):
        environment = runtime_environment(settings_for(manifest, tmp_path, ship_code=ships))
        ray.init(address="local", num_cpus=1, include_dashboard=False, runtime_env=environment)
        place = ray.get(ray.remote(where).remote())
        ray.shutdown()
        assert ("runtime_resources" in place) == ships, place


@pytest.mark.slow
def test_ten_killed_workers_cost_nothing(manifest: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    chance, killed = random.Random(15), []
    outcomes = tmp_path / "work" / "outcomes"

    def kill() -> None:
        for number in range(10):
            while len(list(outcomes.rglob("*.json"))) < 5 * number + 2:
                time.sleep(0.02)
            found = subprocess.run(["pgrep", "-f", "ray::StageWorker"], capture_output=True, text=True, check=False)
            if found.stdout.split():
                killed.append(int(chance.choice(found.stdout.split())))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    curate(settings_for(manifest, tmp_path))
    killer.join()
    assert len(killed) == 10
    assert past_runs(tmp_path / "work" / "runs")[0]["result"]["deaths"] >= 8
    assert shards(tmp_path) == reference
    check_all_there_once(tmp_path)
