"""How far a run is, how fast it goes and when it will be done: a line every few seconds, and a file for `status`."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from magdiff_curation.config import EngineSettings
from magdiff_curation.engine import Pool
from magdiff_curation.reasons import Status
from magdiff_curation.runs import Run
from magdiff_curation.state import ClipState

_RECENT = 60
"""Clips that the present speed is taken from."""


class Progress:
    """Counts what comes back from the engine."""

    def __init__(self, total: int, settings: EngineSettings, pools: Sequence[Pool], run: Run) -> None:
        self.total, self.settings, self.pools, self.run = total, settings, pools, run
        self.counts = dict.fromkeys(Status, 0)
        self.num_done = 0
        self.begin = self.last = time.monotonic()
        self.recent: deque[float] = deque(maxlen=_RECENT)

    def count(self, state: ClipState) -> None:
        """Count one clip that is finished."""
        self.num_done += 1
        if state.status:
            self.counts[Status(state.status)] += 1
        self.recent.append(time.monotonic())
        if time.monotonic() - self.last >= self.settings.progress_seconds:
            self.line()

    def line(self) -> None:
        """Print a line, and leave it for `status`."""
        self.last = time.monotonic()
        text = f"{self.num_done}/{self.total} clips: " + ", ".join(f"{self.counts[key]} {key}" for key in Status)
        speed = self._speed()
        if speed:
            text += f"; {speed:.2f} clips/s, {duration((self.total - self.num_done) / speed)} to go"
        for pool in self.pools:
            if pool.workers or pool.starting or pool.num_done:
                text += f" | {pool.name}: {pool.num_done} done, {pool.backlog} waiting, {len(pool.workers)} workers"
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        now = time.strftime("%Y-%m-%d %H:%M:%S%z")
        self.run.note("progress", {"at": now, "line": text, "done": self.num_done, "total": self.total})

    def costs(self, done: Sequence[ClipState], num_retries: int) -> dict[str, Any]:
        """Return what the run took: wall time, the time that its workers reserved, and prices where they are set."""
        for pool in self.pools:  # those that are left have just been dismissed
            pool.worker_seconds = round(pool.worker_seconds, 2)
        cpu = sum(pool.worker_seconds * pool.resources.num_cpus for pool in self.pools)
        gpu = sum(pool.worker_seconds * pool.resources.num_gpus for pool in self.pools)
        kept = sum(state.status == Status.KEPT for state in done)
        value: dict[str, Any] = {
            "wall_seconds": round(time.monotonic() - self.begin, 2),
            "workers": {pool.name: round(pool.worker_seconds, 2) for pool in self.pools},
            "reserved_cpu_seconds": round(cpu, 2),
            "reserved_gpu_seconds": round(gpu, 2),
            "retries": num_retries,
            "deaths": sum(pool.num_deaths for pool in self.pools),
        }
        text = f"{len(done)} clips in {duration(value['wall_seconds'])}"
        if kept:
            text += f"; reserved for each kept clip: {cpu / kept:.2f} CPU-seconds, {gpu / kept:.2f} GPU-seconds"
            price = cpu * self.settings.price_per_cpu_hour + gpu * self.settings.price_per_gpu_hour
            if price:
                value["price_per_kept_clip"] = price / 3600 / kept
                text += f", {price / 3600 / kept:.6f} in money"
        sys.stdout.write(text + "\n")
        return value

    def _speed(self) -> float:
        if len(self.recent) < 2 or self.recent[-1] <= self.recent[0]:
            return 0.0
        return (len(self.recent) - 1) / (self.recent[-1] - self.recent[0])


def duration(seconds: float) -> str:
    """Return a time for people: 45 s, 12 min, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
