"""A clip that kills its worker process gets its own row; its neighbours in the block are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from magdiff_curation import pipeline
from magdiff_curation.config import CurationSettings, FilterSettings
from magdiff_curation.pipeline import curate
from magdiff_curation.state import ClipState
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset
from magdiff_curation.worker import StageWorker


class DyingWorker(StageWorker):
    """Dies, as a crash in a decoder would kill it, when it sees one certain clip."""

    def work(self, texts: list[str]) -> list[str]:
        names = [ClipState.from_json(text).source for text in texts]
        if any(name.endswith("00001.mp4") for name in names):
            os._exit(139)
        return super().work(texts)


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
    )
    summary = curate(settings)
    assert (summary["kept"], summary["failed"]) == (3, 1)
    rows = {row["source"]: row for row in pq.read_table(tmp_path / "out" / "ledger.parquet").to_pylist()}
    assert rows["videos/00001.mp4"]["reason"] == "worker_died"
    monkeypatch.undo()
    assert curate(settings, retry_errors=True)["kept"] == 4
