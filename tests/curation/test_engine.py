"""The engine on a real Ray of its own: every clip comes back once, whatever its workers do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from magdiff_curation.config import EngineSettings, StageResources
from magdiff_curation.engine import Engine, EngineError, Pool, pools_for
from magdiff_curation.state import ClipState

RESOURCES = StageResources(num_cpus=0.25, max_seconds=2.0, max_workers=2)


class PretendWorker:
    """Does what a clip's name asks for: die, hang, fail, or pass on to the next stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def ready(self) -> int:
        return os.getpid()

    def work(self, texts: list[str]) -> list[str]:
        states = [ClipState.from_json(text) for text in texts]
        for state in states:
            deed = state.fields.get(self.stage)
            marker = Path(state.path) / f"{state.source}.{self.stage}"
            if deed == "die" or (deed == "die once" and not marker.exists()):
                marker.touch()
                os._exit(9)
            if deed == "hang":
                time.sleep(60)
            if deed == "fail":
                raise RuntimeError("a bug")
            state.stage = self.stage
            state.seconds[self.stage] = len(states)
        return [state.to_json() for state in states]


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    import ray
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(address="local", num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


def clips(folder: Path, count: int, **deeds: dict[str, str]) -> list[ClipState]:
    names = [f"c{number}" for number in range(count)]
    return [ClipState(source=name, path=str(folder), caption="", fields=deeds.get(name, {})) for name in names]


def run(states: list[ClipState], batch_size: int = 1) -> tuple[dict[str, ClipState], Engine]:
    import ray

    pools = [
        Pool(names=("first",), resources=RESOURCES, max_seconds=2.0, batch_size=batch_size),
        Pool(names=("second",), resources=RESOURCES, max_seconds=2.0),
    ]

    def route(state: ClipState) -> int | None:
        return None if state.status else {"": 0, "first": 1, "second": None}[state.stage]

    def new_worker(pool: Pool) -> object:
        return ray.remote(PretendWorker).options(num_cpus=0.25).remote(pool.names[0])

    engine = Engine(pools, new_worker, route, EngineSettings(load_seconds=0.0))
    done = list(engine.run(states))
    assert sorted(state.source for state in done) == sorted(state.source for state in states)
    return {state.source: state for state in done}, engine


@pytest.mark.usefixtures("_ray")
def test_a_batch_that_dies_is_tried_clip_by_clip_and_only_the_guilty_clip_is_lost(tmp_path: Path) -> None:
    done, engine = run(clips(tmp_path, 12, c3={"first": "die"}, c7={"second": "die once"}), batch_size=4)
    assert {name for name, state in done.items() if state.status} == {"c3"}
    assert (done["c3"].reason, done["c3"].stage) == ("worker_died", "first")
    assert "3 times, in the end on this clip alone" in done["c3"].detail
    assert done["c0"].seconds["first"] == 1  # alone, after its batch had died
    assert done["c11"].seconds["first"] == 4
    # One each for c0 to c2, three for c3, and one for c7, or for a clip before it whose answer died with the worker.
    assert sum(engine.attempts.values()) == 7
    assert sum(pool.num_deaths for pool in engine.pools) == 4


@pytest.mark.usefixtures("_ray")
def test_clips_in_the_same_hands_are_never_lost_with_the_one_that_kills_them(tmp_path: Path) -> None:
    deadly = {f"c{number}": {"first": "die"} for number in range(1, 16, 4)}
    done, _ = run(clips(tmp_path, 16, **deadly))
    assert {name for name, state in done.items() if state.status} == set(deadly)


@pytest.mark.usefixtures("_ray")
def test_a_clip_that_takes_too_long_is_stopped_and_says_so(tmp_path: Path) -> None:
    done, _ = run(clips(tmp_path, 4, c1={"second": "hang"}))
    assert {name for name, state in done.items() if state.status} == {"c1"}
    assert (done["c1"].reason, done["c1"].detail) == ("limit_exceeded", "second took more than 2 s")


@pytest.mark.usefixtures("_ray")
def test_a_bug_in_a_worker_stops_the_run_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="a worker of first failed: RuntimeError: a bug"):
        run(clips(tmp_path, 4, c1={"first": "fail"}))


def test_neighbouring_stages_with_the_same_resources_share_their_workers() -> None:
    cpu, gpu = StageResources(), StageResources(num_gpus=1)
    pools = pools_for({"normalize": cpu, "answer": gpu, "label": cpu, "mask": cpu}, {"answer": 16})
    assert [(pool.name, pool.batch_size) for pool in pools] == [("normalize", 1), ("answer", 16), ("label+mask", 1)]
    assert pools[2].max_seconds == 2 * cpu.max_seconds
