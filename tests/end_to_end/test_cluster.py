"""A cluster of two nodes that loses one, and workers that are killed: nothing lost, nothing twice, the same bytes."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from end_to_end.sixty_clips import NUM_CLIPS, SHOWN, check_all_there_once, stage_workers
from products import products

from magdiff_curation.clips.atomic import list_files
from magdiff_curation.clips.location import location
from magdiff_curation.config import CurationSettings, EngineSettings, FilterSettings
from magdiff_curation.pipeline import curate, runtime_environment
from magdiff_curation.runs import past_runs


def settings_for(manifest: Path, output: Path, **engine: bool) -> CurationSettings:
    return CurationSettings(
        source=manifest,
        output=output,
        shard_megabytes=1,
        filters=FilterSettings(min_short_side_px=128),
        engine=EngineSettings(**engine),  # type: ignore[arg-type]
    )


@pytest.fixture(params=["disk", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path, bucket_url: str) -> Path:
    return tmp_path if request.param == "disk" else location(f"{bucket_url}/curated")


def wait_for(output: Path, num_outcomes: int) -> None:
    while len(list_files(output / "work" / "outcomes")) < num_outcomes:
        time.sleep(0.05)


@pytest.mark.slow
def test_a_node_that_is_lost_in_the_middle_of_a_run_costs_nothing(
    manifest: Path, reference: dict[str, str], output: Path, two_nodes: Any
) -> None:
    def lose() -> None:
        wait_for(output, NUM_CLIPS // 4)
        two_nodes.remove_node(two_nodes.worker_nodes.copy().pop(), allow_graceful=False)

    loser = threading.Thread(target=lose)
    loser.start()
    curate(settings_for(manifest, output, ship_code=True), address=two_nodes.address)
    loser.join()
    assert past_runs(output / "work" / "runs")[0]["result"]["deaths"] >= 1
    assert products(output, SHOWN) == reference
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
def test_ten_killed_workers_and_a_lost_node_cost_nothing(
    manifest: Path, reference: dict[str, str], output: Path, two_nodes: Any
) -> None:
    chance, killed = random.Random(15), []

    def kill() -> None:
        for number in range(10):
            wait_for(output, 4 * number + 2)
            if number == 7:  # half of the clips are decided
                two_nodes.remove_node(two_nodes.worker_nodes.copy().pop(), allow_graceful=False)
            while not (workers := stage_workers(two_nodes.list_all_nodes())):
                time.sleep(0.05)
            killed.append(chance.choice(workers))
            os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    curate(settings_for(manifest, output), address=two_nodes.address)
    killer.join()
    assert len(set(killed)) == 10
    assert past_runs(output / "work" / "runs")[0]["result"]["deaths"] >= 8
    assert products(output, SHOWN) == reference
    check_all_there_once(output)
