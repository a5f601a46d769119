#!/usr/bin/env python3
"""Run a benchmark with its videos made on every GPU of a Ray cluster; all else is as `python -m magdiff_eval.run`.

python pipelines/benchmark.py --makers 8 ucf101 --model my/magdiff --data data/ucf101 --output data/ucf101-scores

On a cluster: `ray job submit -- python pipelines/benchmark.py ...`, with the benchmark's folder, the checkpoint and the
output in folders that every node has. Each maker loads the checkpoint once. After whatever went wrong the same command
goes on with what is missing. Without --makers there is one for each GPU, or one CPU.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import ray
import tyro
from ray.util.actor_pool import ActorPool

from magdiff_eval.harness.making import Made, NewWorker
from magdiff_eval.harness.settings import COMMANDS
from magdiff_eval.layouts.item import Item
from magdiff_eval.run import run

TRIES = 3
"""Of a part whose maker died."""
PART = 8
"""Videos that a maker is given at a time."""


class Maker:
    """A worker in a process of its own."""

    def __init__(self, new_worker: NewWorker) -> None:
        self.worker = new_worker()

    def make(self, items: Sequence[Item]) -> list[tuple[Item, str | None]]:
        """Make some items' videos; those that an earlier try made are left as they are."""
        return [(item, None if self.worker.folder.is_made(item) else self.worker.make(item)) for item in items]


def on_ray(address: str, makers: int, items: Sequence[Item], new_worker: NewWorker) -> Made:
    """Yield the items as their videos are made.

    Raises:
        ValueError: more makers than the cluster has GPUs (or CPUs), or one that died again and again.
    """
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        resources: dict[str, Any] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
        if makers > (gpus or cpus):
            raise ValueError(f"--makers is {makers} and the cluster has {gpus or cpus}: give as many, or fewer")
        share: dict[str, Any] = {"num_cpus": 1} | ({"num_gpus": 1} if gpus else {})
        actor = ray.remote(max_restarts=-1, max_task_retries=TRIES - 1, **share)(Maker)
        parts = [items[start : start + PART] for start in range(0, len(items), PART)]
        pool = ActorPool([actor.remote(new_worker) for _ in range(min(makers or gpus or 1, len(parts)))])
        for made in pool.map_unordered(lambda maker, part: maker.make.remote(part), parts):
            yield from made
    except ray.exceptions.RayError as error:
        raise ValueError(f"making videos stopped, what is made stays; run again: {error}") from error
    finally:
        ray.shutdown()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--makers", type=int, default=0, help="processes that make videos; one GPU each")
    options.add_argument("--address", default=os.environ.get("RAY_ADDRESS", "local"), help="a Ray cluster's address")
    options.add_argument(
        "command", nargs=argparse.REMAINDER, help=f"{' | '.join(COMMANDS)}, as magdiff_eval.run has it"
    )
    chosen = options.parse_args()
    try:
        settings = tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="python pipelines/benchmark.py", args=chosen.command
        )
        run(settings, partial(on_ray, chosen.address, chosen.makers))
    except (ValueError, OSError) as error:
        sys.exit(f"benchmark: {error}")


if __name__ == "__main__":
    main()
