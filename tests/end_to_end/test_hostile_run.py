"""200 damaged and hostile files among 50 good ones go through a whole run, to the ledger: none does any harm."""

from __future__ import annotations

import collections
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hostile import KINDS, NUM_FRAMES, write_good, write_hostile
from watch import listener, opened_files, watched_children

from magdiff_curation.clips.index import load_shard_list
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.clips.video import decode
from magdiff_curation.config import CurationSettings, FilterSettings
from magdiff_curation.pipeline import curate
from magdiff_curation.reasons import DROPPED_REASONS
from magdiff_curation.runs import past_runs

NUM_HOSTILE, NUM_GOOD = 200, 50


@pytest.mark.slow
def test_of_200_hostile_and_50_good_files_the_50_are_kept_within_all_limits(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    settings = CurationSettings(
        source=folder / "manifest.jsonl", output=tmp_path / "out", filters=FilterSettings(min_short_side_px=64)
    )
    with listener() as (port, calls):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            hostile = pool.submit(write_hostile, folder, NUM_HOSTILE, 1, port)
            good = pool.submit(write_good, folder, NUM_GOOD, 1).result()
            right = hostile.result() | {str(row["video"]): {"kept"} for row in good}
        # Hostile files are described as good ones are: nothing but the file can be what decides.
        rows = good + [good[0] | {"video": name} for name in hostile.result()]
        settings.source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with opened_files(folder / "targets") as opened, watched_children(folder) as children:
            summary = curate(settings)

    ledger = {row["source"]: row for row in pq.read_table(settings.output / "ledger.parquet").to_pylist()}
    seconds = [
        (taken, stage, name) for name, row in ledger.items() for stage, taken in json.loads(row["seconds"]).items()
    ]
    peak_mib = max(child.peak_mib for child in children.values())
    print(
        f"{len(KINDS)} kinds; {len(children)} children seen, the largest {peak_mib:.0f} MiB; slowest {max(seconds)}; "
        f"{dict(collections.Counter(row['reason'] for row in ledger.values()))}"
    )
    assert summary["inputs"] == len(ledger) == len(right) == NUM_HOSTILE + NUM_GOOD
    assert {name: row["reason"] for name, row in ledger.items() if row["reason"] not in right[name]} == {}
    for row in ledger.values():
        decided = "kept" if row["reason"] == "kept" else "dropped" if row["reason"] in DROPPED_REASONS else "failed"
        assert row["status"] == decided
        assert row["detail"] or decided == "kept"

    shards = [settings.output / name for name in load_shard_list(settings.output).shards]
    clips = {str(clip.record.provenance["source"]): clip for shard in shards for clip in ShardReader(shard)}
    assert sorted(clips) == [row["video"] for row in good]
    assert {len(decode(clip.video)) for clip in clips.values()} == {NUM_FRAMES}
    assert {len(clip.masks) for clip in clips.values()} == {NUM_FRAMES}

    assert all(taken <= getattr(settings.engine, stage).max_seconds for taken, stage, _ in seconds)
    assert past_runs(settings.output / "work" / "runs")[0]["result"]["deaths"] == 0
    assert len(children) > 2 * NUM_GOOD
    assert peak_mib <= settings.limits.max_memory_mib
    assert {child.limit_mib for child in children.values()} == {settings.limits.max_memory_mib}
    assert (calls, opened) == ([], [])
