"""A whole curation run in this process: all that `curate` does, but its workers are called, not sent to Ray."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq

from magdiff_curation import pipeline, worker
from magdiff_curation.clips.index import load_shard_list
from magdiff_curation.clips.record import Clip
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.config import CurationSettings, LabelSettings
from magdiff_curation.pipeline import curate
from magdiff_curation.runs import Run
from magdiff_curation.stages import STAGES, LabelStage
from magdiff_curation.state import ClipState


@functools.cache
def _label_stage(settings: LabelSettings) -> LabelStage:
    return LabelStage(CurationSettings(label=settings))


def label_stage(settings: CurationSettings) -> LabelStage:
    """Return the stage of these settings, with models that an earlier test loaded, which takes seconds."""
    stage = copy.copy(_label_stage(settings.label))
    stage.settings = settings
    return stage


def work(names: Sequence[str], settings: CurationSettings, states: Sequence[ClipState]) -> list[ClipState]:
    """Return the states after a worker has taken them through some stages, all as one batch."""
    return _work(names, settings, states, None)


def _work(
    names: Sequence[str], settings: CurationSettings, states: Sequence[ClipState], run: Run | None
) -> list[ClipState]:
    with mock.patch.dict(worker.STAGES, {"label": label_stage}):
        workers = worker.StageWorker(tuple(names), settings, run)
        done = workers.work([state.to_json() for state in states])
    return [ClipState.from_json(text) for text in done]


def curate_here(settings: CurationSettings, **options: Any) -> dict[str, dict[str, Any]]:
    """Run curation and return the ledger's rows by source, with what they hold as JSON unpacked."""

    def find_shots(inputs: list[ClipState], settings: CurationSettings, address: str, run: Run) -> None:
        work(("shots",), settings, inputs)

    def decide(
        todo: list[ClipState], settings: CurationSettings, address: str, run: Run
    ) -> tuple[list[ClipState], dict[str, Any]]:
        return _work(tuple(STAGES), settings, todo, run), {"wall_seconds": 0.0}

    with mock.patch.object(pipeline, "_find_shots", find_shots), mock.patch.object(pipeline, "run_on_ray", decide):
        curate(settings, **options)
    rows = pq.read_table(settings.output / "ledger.parquet").to_pylist()
    unpacked = {"scores", "thresholds", "models", "seconds"}
    return {
        row["source"]: {name: json.loads(value) if name in unpacked else value for name, value in row.items()}
        for row in rows
    }


def packed_clips(output: Path) -> dict[str, Clip]:
    """Return the clips of all shards by their source's name."""
    return {
        str(clip.record.provenance["source"]): clip
        for shard in load_shard_list(output).shards
        for clip in ShardReader(output / shard)
    }
