"""A clip that kills its worker process gets its own row; its neighbours in the block are kept."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from magdiff_curation import pipeline
from magdiff_curation.config import CurationSettings, EngineSettings, FilterSettings
from magdiff_curation.pipeline import StageWorker, curate
from magdiff_curation.state import ClipState
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset


class DyingWorker(StageWorker):
    """Dies, as a crash in a decoder would kill it, when it sees one certain clip."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        names = [ClipState.from_json(text).source for text in batch["state"]]
        if "mask" in self.stages and any(name.endswith("00001.mp4") for name in names):
            os._exit(139)
        return super().__call__(batch)


@pytest.mark.slow
def test_a_clip_that_kills_its_worker_costs_no_other_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(pipeline, "StageWorker", DyingWorker)
    manifest = write_dataset(tmp_path / "world", DatasetSettings(num_clips=4, seed=12, width=160, height=128))
    settings = CurationSettings(
        source=manifest,
        output=tmp_path / "out",
        filters=FilterSettings(min_short_side_px=128),
        engine=replace(EngineSettings(), rows_per_block=4),
    )
    summary = curate(settings)
    assert (summary["kept"], summary["failed"]) == (3, 1)
    rows = {row["source"]: row for row in pq.read_table(tmp_path / "out" / "ledger.parquet").to_pylist()}
    assert rows["videos/00001.mp4"]["reason"] == "worker_died"
    monkeypatch.undo()
    assert curate(settings, retry_errors=True)["kept"] == 4
