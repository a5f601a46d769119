#!/usr/bin/env python3
"""Encode the clips of shards once, so that training need not do it at every step.

Takes the settings of the training that it is for (one file serves both), and writes beside each folder of shards what
VAE and CLIP make of their frames, subjects and captions. `data.window_starts` says how many samples a clip are kept.

python pipelines/encode_latents.py --config my.yaml --shards my/shards --data.window-starts 4 --dry-run
python pipelines/encode_latents.py --config my.yaml --shards my/shards --data.window-starts 4
python -m magdiff_model.train      --config my.yaml --shards my/shards --data.window-starts 4 --latents fp32

On a cluster: `ray job submit -- python pipelines/encode_latents.py ...` with one encoder a GPU. Shards that are encoded
are passed over, so after whatever went wrong the same command goes on.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray.util.actor_pool import ActorPool

from magdiff_curation.clips.index import load_indexes
from magdiff_curation.clips.location import is_remote
from magdiff_model.config import parse
from magdiff_model.data.shards import find_shards
from magdiff_model.encode_clips import ClipEncoder
from magdiff_model.training.settings import TrainSettings

TRIES = 3
"""Of a shard whose encoder died."""


@dataclass(frozen=True, kw_only=True)
class EncodeSettings(TrainSettings):
    """Encode the clips of shards; of the training's settings those count that shape what its encoders see."""

    encoders: int = 0
    """Encoders at a time; 0: one a GPU of the cluster, or one for every two CPUs."""
    address: str | None = None
    """A Ray cluster's address; by default the cluster that runs this job, or else a Ray of its own."""


class Worker:
    """One encoder, in a process of its own."""

    def __init__(self, settings: EncodeSettings) -> None:
        self.encoder = ClipEncoder(settings, torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    def write(self, shard: Path) -> tuple[int, list[str]]:
        """Encode a tar; return how many clips it has, and what is wrong with those that cannot be read."""
        problems = self.encoder.write(shard)
        return len(load_indexes([shard])[0].samples), problems


def encode(settings: EncodeSettings) -> None:
    """Encode what is not encoded yet.

    Raises:
        ValueError: shards, base or settings do not fit; or a shard's encoder died again and again.
    """
    # Ray's workers have a folder of their own.
    shards = [shard if is_remote(shard) else shard.resolve() for shard in find_shards(settings.shards)]
    settings = replace(settings, base=str(Path(settings.base).resolve()))
    here = ClipEncoder(settings, torch.device("cpu"))
    todo = [shard for shard in shards if not here.is_done(shard)]
    clips = sum(len(index.samples) for index in load_indexes(todo))
    size = clips * here.clip_bytes()
    print(
        f"{len(todo)} of {len(shards)} shards to encode: {clips} clips, at most {settings.data.window_starts} samples "
        f"each, {size / 1e9:.2f} GB in {', '.join(sorted({str(here.path(shard).parent) for shard in shards}))}",
        flush=True,
    )
    if settings.dry_run or not todo:
        return
    address = settings.address or os.environ.get("RAY_ADDRESS") or "local"
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        problems = _on_ray(settings, todo, clips)
    except ray.exceptions.RayError as error:
        raise ValueError(f"encoding stopped, what is done stays; run again: {error}") from error
    finally:
        ray.shutdown()
    for problem in problems:
        print(f"cannot be trained on: {problem}")
    print(f"{clips - len(problems)} clips encoded, {len(problems)} cannot be; train with --latents {here.kept}")


def _on_ray(settings: EncodeSettings, shards: list[Path], clips: int) -> list[str]:
    resources: dict[str, Any] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = int(resources.get("GPU", 0))
    count = min(settings.encoders or gpus or max(1, int(resources["CPU"]) // 2), len(shards))
    share = {"num_gpus": 1.0} if gpus else {"num_cpus": min(2, int(resources["CPU"]))}
    actor = ray.remote(max_restarts=-1, max_task_retries=TRIES - 1, **share)(Worker)
    workers = ActorPool([actor.remote(settings) for _ in range(count)])
    print(f"{count} encoders on {'GPUs' if gpus else 'CPUs'}", flush=True)
    problems, done, begin = list[str](), 0, time.monotonic()
    answers = workers.map_unordered(lambda worker, shard: worker.write.remote(shard), shards)
    for number, (encoded, found) in enumerate(answers, 1):
        done, problems = done + encoded, problems + found
        rate = done / (time.monotonic() - begin)
        left = (clips - done) / rate
        print(f"{number}/{len(shards)} shards, {done} clips, {rate:.1f} a second, {left:.0f} s left", flush=True)
    return problems


def main() -> None:
    try:
        encode(parse(EncodeSettings, sys.argv[1:], "python pipelines/encode_latents.py"))
    except (ValueError, OSError) as error:
        sys.exit(f"encode_latents: {error}")


if __name__ == "__main__":
    main()
