"""The engine: pools of Ray actors, one for each group of stages, and clips that go from pool to pool.

The driver hands out one small batch at a time and knows what every worker holds, so that a worker's death, or a
lost node, costs what it had in hand and nothing else. The batch it was working on is tried again clip by clip, each
alone in its worker's hands, so that no other is blamed for it; a clip whose worker died `max_attempts` times gets its
own row. A worker that takes too long is killed and counts as
dead. A pool starts with the first clip that needs it, grows while clips wait and the cluster has room, and ends with
the last one; only so many clips are under way as keep the workers busy, so memory does not grow with the input.

Ray Data was here before. It retries a block without saying which row broke it, loses a block's rows when it gives
up, counts nothing per stage, and keeps all rows in the object store; what is needed here fits on a page.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from magdiff_curation.config import EngineSettings, StageResources
from magdiff_curation.reasons import Reason
from magdiff_curation.state import ClipState

_SLOTS = 2
"""Batches that a worker holds: the one it works on, and the next."""


class EngineError(ValueError):
    """The run cannot go on: workers do not start, or a worker's code fails."""


@dataclass(kw_only=True)
class Pool:
    """Workers of one kind, and what waits for them."""

    names: tuple[str, ...]
    """The stages that they compute."""
    resources: StageResources
    max_seconds: float
    """Longest time for one clip."""
    batch_size: int = 1
    queue: deque[list[ClipState]] = field(default_factory=deque)
    """Batches that must stay as they are: clips to be tried alone come singly."""
    waiting: deque[ClipState] = field(default_factory=deque)
    workers: list[Worker] = field(default_factory=list)
    starting: dict[Any, Worker] = field(default_factory=dict)
    """The reference of each new worker's first answer."""
    failed_starts: int = 0
    num_done: int = 0
    num_deaths: int = 0
    worker_seconds: float = 0.0
    """Time that workers were there, idle or not."""
    hungry_since: float | None = None

    @property
    def name(self) -> str:
        """The stages' names, for people."""
        return "+".join(self.names)

    @property
    def backlog(self) -> int:
        """Clips that wait."""
        return len(self.waiting) + sum(map(len, self.queue))

    @property
    def in_hand(self) -> int:
        """Clips that workers hold."""
        return sum(len(task.states) for worker in self.workers for task in worker.tasks)


@dataclass(kw_only=True, eq=False)
class Worker:
    """One actor and what it holds, in the order in which it was given."""

    actor: Any
    pool: Pool
    tasks: deque[Task] = field(default_factory=deque)
    born: float = field(default_factory=time.monotonic)
    has_answered: bool = False
    """Once it has, its models are loaded."""
    timed_out: bool = False


@dataclass(kw_only=True, eq=False)
class Task:
    """A batch in a worker's hands."""

    reference: Any
    states: list[ClipState]
    began: float
    """When the worker could have begun with it."""


class Engine:
    """Takes clips through pools of workers.

    Args:
        pools: in the order of the stages.
        new_worker: makes the actor of a pool's worker, with the methods `ready` and `work`.
        route: returns the number of the pool that a clip goes to next, or None where it is finished.
        settings: retries and times.
        committed: returns a clip's committed state, if there is one (a worker may die between commit and answer).
    """

    def __init__(
        self,
        pools: list[Pool],
        new_worker: Callable[[Pool], Any],
        route: Callable[[ClipState], int | None],
        settings: EngineSettings,
        committed: Callable[[ClipState], ClipState | None] = lambda _: None,
    ) -> None:
        self.pools, self.new_worker, self.route, self.settings = pools, new_worker, route, settings
        self.committed = committed
        self.attempts: dict[str, int] = {}
        self.num_retries = 0
        self.lost: set[str] = set()
        """Row ids of the clips that were given up, which no worker has committed."""
        self._tasks: dict[Any, Worker] = {}
        self._finished: deque[ClipState] = deque()
        self._under_way = 0

    def run(self, states: Iterable[ClipState]) -> Iterator[ClipState]:
        """Yield every clip as it is finished, in the order in which that happens.

        A clip that took its worker along too often comes back with the reason, uncommitted.

        Raises:
            EngineError: a worker's code fails, or workers do not start.
        """
        source = iter(states)
        more = True
        try:
            while more or self._under_way:
                while more and self._under_way < self._room():
                    state = next(source, None)
                    more = state is not None
                    if state is not None:
                        self._under_way += 1
                        self._pass_on(state)
                self._hire(more)
                self._hand_out()
                self._collect()
                self._stop_the_slow()
                while self._finished:
                    self._under_way -= 1
                    yield self._finished.popleft()
        finally:
            for pool in self.pools:
                for worker in [*pool.workers, *pool.starting.values()]:
                    self._dismiss(worker)

    def _room(self) -> int:
        return sum(4 * pool.batch_size * max(1, len(pool.workers)) for pool in self.pools) + 8

    def _pass_on(self, state: ClipState) -> None:
        number = self.route(state)
        if number is None:
            self._finished.append(state)
        else:
            self.pools[number].waiting.append(state)

    def _hire(self, more: bool) -> None:
        """Start workers where clips wait, and let those go that nothing can reach any more."""
        import ray

        free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
        upstream = more
        for pool in self.pools:
            upstream = upstream or bool(pool.backlog or pool.in_hand)
            if not upstream:
                for worker in [*pool.workers, *pool.starting.values()]:
                    self._dismiss(worker)
                continue
            count = len(pool.workers) + len(pool.starting)
            wanted = 0
            if pool.backlog:
                # One for every batch that waits; one at least may be wanted before there is room for it.
                batches = len(pool.queue) + math.ceil(len(pool.waiting) / pool.batch_size)
                fits = _room_for(pool.resources, free)
                wanted = min(batches, max(1, fits) - len(pool.starting))
                wanted = max(wanted, pool.resources.min_workers - count)
            for _ in range(max(0, min(wanted, pool.resources.max_workers - count))):
                worker = Worker(actor=self.new_worker(pool), pool=pool)
                pool.starting[worker.actor.ready.remote()] = worker
            starving = pool.backlog and not pool.workers
            pool.hungry_since = (pool.hungry_since or time.monotonic()) if starving else None
            if pool.hungry_since and time.monotonic() - pool.hungry_since > 2.0:
                self._make_room(pool)

    def _make_room(self, hungry: Pool) -> None:
        """End an idle worker of another pool: a cluster may be too small to hold one of each."""
        idle = [
            worker
            for pool in self.pools
            if pool is not hungry and not pool.backlog
            for worker in pool.workers
            if not worker.tasks
        ]
        if idle:
            self._dismiss(idle[-1])

    def _dismiss(self, worker: Worker) -> None:
        import ray

        pool = worker.pool
        if worker in pool.workers:
            pool.workers.remove(worker)
            pool.worker_seconds += time.monotonic() - worker.born
        pool.starting = {reference: other for reference, other in pool.starting.items() if other is not worker}
        ray.kill(worker.actor, no_restart=True)

    def _hand_out(self) -> None:
        for pool in reversed(self.pools):  # what is nearly done first
            for depth in range(_SLOTS):
                for worker in pool.workers:
                    if len(worker.tasks) > depth or worker.timed_out or self._to_be_alone(worker):
                        continue
                    if depth and pool.backlog <= len(pool.workers):  # the last ones go to whoever is free first
                        break
                    if states := _next_batch(pool):
                        reference = worker.actor.work.remote([state.to_json() for state in states])
                        worker.tasks.append(Task(reference=reference, states=states, began=time.monotonic()))
                        self._tasks[reference] = worker

    def _to_be_alone(self, worker: Worker) -> bool:
        """Return whether what a worker holds, or what would come next to it, has had a worker die already.

        Two at once would not do: an answer may die with the worker that the next clip kills.
        """
        held = [task.states for task in worker.tasks]
        following = [worker.pool.queue[0]] if worker.pool.queue else []
        return bool(held) and any(state.row_id in self.attempts for states in held + following for state in states)

    def _collect(self) -> None:
        import ray

        starting = {reference: worker for pool in self.pools for reference, worker in pool.starting.items()}
        references = [*self._tasks, *starting]
        if not references:
            return
        # Oldest first; at most a quarter of a second, so that time limits and new workers are looked after.
        ready, _ = ray.wait(references, num_returns=len(references), timeout=0.0)
        if not ready:
            ready, _ = ray.wait(references, num_returns=1, timeout=0.25)
        for reference in ready:
            if reference in starting:
                self._started(reference, starting[reference])
            elif reference in self._tasks:
                self._answered(self._tasks[reference])

    def _started(self, reference: Any, worker: Worker) -> None:
        import ray

        pool = worker.pool
        pool.starting.pop(reference, None)
        try:
            ray.get(reference)
        except ray.exceptions.RayError as error:
            pool.failed_starts += 1
            if pool.failed_starts >= self.settings.max_attempts:
                raise EngineError(f"workers of {pool.name} do not start: {_last_line(error)}") from error
            return
        pool.failed_starts = 0
        worker.born = time.monotonic()
        pool.workers.append(worker)

    def _answered(self, worker: Worker) -> None:
        """Take what a worker has ready, in its order; where it has died, find out at what."""
        import ray

        pool = worker.pool
        while worker.tasks:
            task = worker.tasks[0]
            if not ray.wait([task.reference], timeout=0.0)[0]:
                return
            try:
                texts = ray.get(task.reference)
            except ray.exceptions.RayTaskError as error:
                raise EngineError(f"a worker of {pool.name} failed: {_last_line(error)}") from error
            except ray.exceptions.RayError as error:
                self._died(worker, error)
                return
            worker.tasks.popleft()
            del self._tasks[task.reference]
            worker.has_answered = True
            if worker.tasks:
                worker.tasks[0].began = time.monotonic()
            pool.num_done += len(texts)
            for text in texts:
                self._pass_on(ClipState.from_json(text))

    def _died(self, worker: Worker, error: Exception) -> None:
        pool = worker.pool
        pool.num_deaths += 1
        held = [task.states for task in worker.tasks]
        for task in worker.tasks:
            del self._tasks[task.reference]
        self._dismiss(worker)
        guilty, innocent = held[0], held[1:]
        for states in innocent:
            pool.queue.appendleft(states)
        for state in guilty:
            known = self.committed(state)
            if known is not None:
                self._finished.append(known)
                continue
            self.num_retries += 1
            self.attempts[state.row_id] = self.attempts.get(state.row_id, 0) + 1
            if self.attempts[state.row_id] < self.settings.max_attempts:
                pool.queue.append([state])
                continue
            if worker.timed_out:
                state.reject(Reason.LIMIT_EXCEEDED, f"{pool.name} took more than {pool.max_seconds:g} s")
            else:
                times = f"{self.settings.max_attempts} times, in the end on this clip alone"
                state.reject(Reason.WORKER_DIED, f"its worker process died {times}: {_last_line(error)}")
            state.stage = pool.names[0]
            self.lost.add(state.row_id)
            self._finished.append(state)

    def _stop_the_slow(self) -> None:
        import ray

        for pool in self.pools:
            for worker in pool.workers:
                if not worker.tasks or worker.timed_out:
                    continue
                task = worker.tasks[0]
                limit = pool.max_seconds * len(task.states)
                limit += 0 if worker.has_answered else self.settings.load_seconds
                if time.monotonic() - task.began > limit:
                    worker.timed_out = True
                    ray.kill(worker.actor, no_restart=True)


def _next_batch(pool: Pool) -> list[ClipState]:
    if pool.queue:
        return pool.queue.popleft()
    return [pool.waiting.popleft() for _ in range(min(pool.batch_size, len(pool.waiting)))]


def _room_for(resources: StageResources, free: Mapping[str, float]) -> int:
    """Return how many more workers the cluster has room for; those that reserve nothing, one at a time."""
    wanted = {"CPU": resources.num_cpus, "GPU": resources.num_gpus}
    return min((math.floor(free.get(kind, 0.0) / amount) for kind, amount in wanted.items() if amount), default=1)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)


def pools_for(resources: Mapping[str, StageResources], batch_sizes: Mapping[str, int]) -> list[Pool]:
    """Return one pool for each run of neighbouring stages with the same resources."""
    pools = []
    for wanted, group in itertools.groupby(resources.items(), key=lambda item: item[1]):
        names = tuple(name for name, _ in group)
        pools.append(
            Pool(
                names=names,
                resources=wanted,
                max_seconds=wanted.max_seconds * len(names),
                batch_size=max(batch_sizes.get(name, 1) for name in names),
            )
        )
    return pools
