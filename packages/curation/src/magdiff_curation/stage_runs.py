"""Taking clips through stages: what is remembered is taken from there, what is computed is timed and remembered."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from magdiff_curation.memo import Memo
from magdiff_curation.reasons import ClipRejected, Reason, Status
from magdiff_curation.stages import AnswerStage, Stage, next_stage
from magdiff_curation.state import ClipState

_LOG = logging.getLogger(__name__)


def run_stages(
    stages: Mapping[str, Stage],
    states: Sequence[ClipState],
    memo: Memo | None = None,
    own: Collection[str] | None = None,
    num_gpus: float = 0.0,
) -> None:
    """Take clips through stages, as far as results are known or may be computed here.

    Args:
        stages: the stages by name, in order.
        states: the clips; they are changed in place.
        memo: results of earlier runs, and where to keep new ones.
        own: stages whose results may be computed here; all, if not given.
        num_gpus: the share of a GPU that this worker reserves, for the accounts.
    """
    for name, stage in stages.items():
        computes = own is None or name in own
        waiting = [state for state in states if not state.status and (own is None or next_stage(state) == name)]
        if isinstance(stage, AnswerStage) and computes and len(waiting) > 1:
            _prepare(stage, [state for state in waiting if memo is None or not memo.load(name, stage.inputs(state))])
        for state in waiting:
            run_stage(name, stage, state, memo, computes, num_gpus)


def run_stage(
    name: str,
    stage: Stage,
    state: ClipState,
    memo: Memo | None = None,
    computes: bool = True,
    num_gpus: float = 0.0,
) -> None:
    """Take one clip through one stage, if its result is known or may be computed: what it raises decides the clip."""
    if state.status:
        return
    times = _Times()
    try:
        inputs = stage.inputs(state)
        result = memo.load(name, inputs) if memo else None
        if result is not None:
            state.reused.append(name)
        elif not computes:
            return
        state.stage = name
        if result is None:
            _load(name, stage)
            times = _Times()
            result = stage.compute(state)
            result["seconds"], result["cpu_seconds"] = times.taken()
            result["gpu_seconds"] = round(result["seconds"] * num_gpus, 4)
            if memo:
                memo.store(name, inputs, result)
        for cost in ("seconds", "cpu_seconds", "gpu_seconds"):
            account = getattr(state, cost)
            account[name] = round(account.get(name, 0.0) + result[cost], 4)
        stage.apply(state, result)
    except ClipRejected as rejection:
        state.stage = name
        state.status, state.reason, state.detail = rejection.status, rejection.reason, rejection.detail
    except LoadError:
        raise
    except Exception as error:  # a bug or a full disk: this clip's row says so, the others go on
        place = traceback.extract_tb(error.__traceback__)[-1]
        state.stage, state.status, state.reason = name, Status.FAILED, Reason.INTERNAL_ERROR
        state.detail = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
    if name not in state.seconds and state.status:
        state.seconds[name], state.cpu_seconds[name] = times.taken()


class LoadError(RuntimeError):
    """A worker cannot load a stage's models: no clip's fault, and no use in going on."""


def _load(name: str, stage: Stage) -> None:
    try:
        stage.load()
    except Exception as error:
        raise LoadError(f"{name} cannot load its models: {type(error).__name__}: {error}") from error


def _prepare(stage: AnswerStage, waiting: Sequence[ClipState]) -> None:
    if len(waiting) < 2:
        return
    _load("answer", stage)
    times = _Times()
    try:
        stage.prepare(waiting)
    except Exception as error:  # what goes wrong comes up again, by name, when each is asked for alone
        _LOG.warning("a batch of %d answers failed, asking one by one: %s", len(waiting), error)
    wall, cpu = times.taken()
    for state in waiting:
        state.seconds["answer"] = wall / len(waiting)
        state.cpu_seconds["answer"] = cpu / len(waiting)


class _Times:
    """Wall and processor time since it was made, this process and its ended children together."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), self._used()

    def taken(self) -> tuple[float, float]:
        return round(time.monotonic() - self._wall, 4), round(self._used() - self._cpu, 4)

    @staticmethod
    def _used() -> float:
        return sum(os.times()[:4])
