"""What the engine costs: against a bare loop over the same stages, with more workers, and in memory.

python bench/engine.py loop      the run's time against a bare multiprocessing loop over the same stage functions
python bench/engine.py workers   stages replaced by sleeps: how nearly N workers are N times as fast
python bench/engine.py memory    the driver's and the object store's memory for 200 and for 2,000 clips

Start-up is left out on both sides: times count from the first finished clip of a worker that has loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from magdiff_curation.commit import Workspace
from magdiff_curation.config import CurationSettings, EngineSettings, FilterSettings, StageResources
from magdiff_curation.engine import Engine, Pool
from magdiff_curation.reasons import Reason
from magdiff_curation.runs import begin
from magdiff_curation.sources import list_inputs
from magdiff_curation.stages import STAGES
from magdiff_curation.state import ClipState
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset
from magdiff_curation.worker import StageWorker

FOLDER = Path("data/bench/engine")
WORKERS = 2
_worker: StageWorker


class SleepWorker:
    """A stage that only takes time."""

    def ready(self) -> int:
        return 0

    def work(self, texts: list[str]) -> list[str]:
        states = [ClipState.from_json(text) for text in texts]
        for state in states:
            time.sleep(state.fields["seconds"])
            state.status = "kept"
        return [state.to_json() for state in states]


def start_loop_worker(settings: CurationSettings, warm: list[str]) -> None:
    """Load the models by taking one clip through them."""
    global _worker
    os.nice(15)  # as Ray's workers are
    own_runs = settings.output / f"runs-{os.getpid()}"  # here two workers are no two runs
    _worker = StageWorker(tuple(STAGES), settings, begin(own_runs, ""))
    _worker.work(warm)


def loop_step(text: str) -> float:
    """Take one clip through all stages and the commit."""
    _worker.work([text])
    return time.monotonic()


def timed_engine(states: list[ClipState], pool: Pool, new_worker: Any, skip: int) -> float:
    """Return the seconds from the end of the first `skip` clips to the end of the last."""
    engine = Engine([pool], new_worker, lambda s: None if s.status or s.stage == "mask" else 0, EngineSettings())
    ends = [time.monotonic() for _ in engine.run(states)]
    return ends[-1] - ends[skip - 1]


def loop() -> None:
    import ray

    shutil.rmtree(FOLDER / "loop", ignore_errors=True)
    manifest = write_dataset(FOLDER / "loop" / "world", DatasetSettings(num_clips=200, seed=22, width=256, height=256))
    base = CurationSettings(source=manifest, filters=FilterSettings(min_short_side_px=128))
    skip = 8
    ray.init(address="local", num_cpus=WORKERS, log_to_driver=False, include_dashboard=False)
    for turn in range(2):
        settings = replace(base, output=FOLDER / "loop" / f"bare-{turn}")
        texts = [state.to_json() for state in list_inputs(settings)]
        with ProcessPoolExecutor(WORKERS, initializer=start_loop_worker, initargs=(settings, texts[:1])) as executor:
            ends = sorted(executor.map(loop_step, texts, chunksize=1))
        bare = ends[-1] - ends[skip - 1]
        settings = replace(base, output=FOLDER / "loop" / f"engine-{turn}")
        run = begin(Workspace(settings.output).runs, "")
        resources = StageResources(max_workers=WORKERS, min_workers=WORKERS)
        pool = Pool(names=tuple(STAGES), resources=resources, max_seconds=900)
        new_worker = lambda _: ray.remote(StageWorker).options(num_cpus=1).remote(tuple(STAGES), settings, run)  # noqa: B023, E731
        engine = timed_engine(list_inputs(settings), pool, new_worker, skip)
        print(f"bare loop {bare:.1f} s, engine {engine:.1f} s: {engine / bare:.3f} times", flush=True)
    ray.shutdown()


def workers() -> None:
    import ray

    ray.init(address="local", num_cpus=16, log_to_driver=False, include_dashboard=False)
    one = 0.0
    for count in (1, 2, 4, 8, 16):
        states = [ClipState(source=f"{i}", path="", caption="", fields={"seconds": 0.5}) for i in range(21 * count)]
        resources = StageResources(min_workers=count, max_workers=count)
        pool = Pool(names=("sleep",), resources=resources, max_seconds=60)
        new_worker = lambda _: ray.remote(SleepWorker).options(num_cpus=1).remote()  # noqa: E731
        seconds = timed_engine(states, pool, new_worker, count)
        speed = 20 * count / seconds
        one = one or speed
        print(f"{count:2d} workers: {speed:6.2f} clips/s, {speed / one / count:.1%} of linear", flush=True)
    ray.shutdown()


def memory() -> None:
    for count in (200, 2000):
        subprocess.run([sys.executable, __file__, "memory-of", str(count)], check=True)


def memory_of(count: int) -> None:
    """Run the real driver on many copies of one video, with the stages answered by sleeps, and print its peak."""
    import resource

    from magdiff_curation import pipeline

    folder = FOLDER / f"memory-{count}"
    shutil.rmtree(folder, ignore_errors=True)
    manifest = write_dataset(folder / "world", DatasetSettings(num_clips=1, seed=23, width=64, height=64))
    line = manifest.read_text()
    manifest.write_text(line * count)
    pipeline.StageWorker = QuickWorker  # type: ignore[misc]
    held: list[float] = []
    threading.Thread(target=watch_object_store, args=(held,), daemon=True).start()
    pipeline.curate(CurationSettings(source=manifest, output=folder / "out"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} clips: peak of the driver {peak:.0f} MiB, of the object store {max(held)} MiB ({len(held)} looks)")


def watch_object_store(held: list[float]) -> None:
    """Note what Ray says that its object store holds, in MiB, as often as it can be asked."""
    import ray
    from ray._private.internal_api import memory_summary

    while True:
        time.sleep(0.5)
        if ray.is_initialized():
            with contextlib.suppress(Exception):  # the run may end while it is asked
                text = memory_summary(stats_only=True)
                held.append(float(re.search(r"Plasma memory usage ([\d.]+) MiB", text)[1]))  # type: ignore[index]


class QuickWorker(StageWorker):
    """Decides every clip at once."""

    def work(self, texts: list[str]) -> list[str]:
        states = [ClipState.from_json(text) for text in texts]
        for state in states:
            state.stage, state.caption = "mask", state.caption * 4
            state.reject(Reason.SUBJECT_LOST, "made up, to end here")
            self._commit(state)
        return [state.to_json() for state in states]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["loop", "workers", "memory", "memory-of"])
    parser.add_argument("count", type=int, nargs="?", default=0)
    options = parser.parse_args()
    {"loop": loop, "workers": workers, "memory": memory, "memory-of": lambda: memory_of(options.count)}[options.what]()
