"""Curation killed with SIGKILL, again and again: nothing lost, nothing twice, the same bytes as if nothing happened."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from end_to_end.sixty_clips import CURATE, SHOWN, check_all_there_once, options, stage_workers
from object_store import Trap
from products import products

from magdiff_curation.clips.location import location

HERE = Path(__file__).parent


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
def test_thirty_kills_lose_nothing_double_nothing_and_change_no_byte(
    manifest: Path, reference: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "killed"
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
    assert products(output, SHOWN) == reference
    check_all_there_once(output)
    assert not list(output.rglob("*.tmp"))


PACKING = (
    *("clips-000000.tar", "clips-000000.index.json", "clips-000001.tar", "clips-000001.index.json", "/shards.json"),
    *("POST", "ledger.parquet", "summary.json", "overview.png", "report.html"),  # samples are deleted by POST
)


@pytest.mark.slow
def test_thirty_kills_onto_s3_on_a_cluster_that_loses_a_node_change_no_byte(
    manifest: Path, reference: dict[str, str], traps: list[Trap], bucket_url: str, two_nodes: Any
) -> None:
    output = location(f"{bucket_url}/curated")
    command = [sys.executable, str(CURATE), *options(manifest, str(output)), "--address", two_nodes.address]
    chance = random.Random(16)
    orphans: list[int] = []
    lost: list[int] = []

    def kill_at(write: str, number: int, seconds: float | None = None, *more: Trap) -> bool:
        """Start a run, kill its driver at the n-th `write`, or once `seconds` are over, and return whether it was."""
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        traps[:] = [Trap(write, number, driver.kill), *more]
        try:
            driver.wait(seconds or 300)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()
            assert seconds, f"no {write} in 300 s"
        orphans.extend(stage_workers(two_nodes.list_all_nodes()))
        return driver.returncode == -signal.SIGKILL

    def lose() -> None:
        node = two_nodes.worker_nodes.copy().pop()
        lost.extend(stage_workers([node]))
        two_nodes.remove_node(node, allow_graceful=False)

    kills = sum(kill_at("outcomes/", 3, chance.uniform(1, 15)) for _ in range(10))  # while starting, loading models
    kills += sum(kill_at("outcomes/", chance.randint(1, 4)) for _ in range(4))  # in the middle of clips
    inside = kill_at("samples/", 6, None, Trap("samples/", 3, lose))  # inside a commit: a sample without its outcome
    two_nodes.add_node(num_cpus=1)
    inside += sum(kill_at("samples/", chance.randint(1, 3)) for _ in range(5))
    inside += sum(kill_at(write, 1) for write in PACKING)
    assert (kills, inside) == (14, 16)
    assert orphans, "no worker outlived its driver"
    assert lost, "the node was lost before it had a worker"

    subprocess.run(command, check=True, timeout=300)
    assert products(output, SHOWN) == reference
    check_all_there_once(output)
