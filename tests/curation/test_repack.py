"""Repacking: the same samples in full shards, in the order of their keys, and nothing else left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from in_process import curate_here

from magdiff_curation.clips.index import ShardError, load_shard_list
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.config import CurationSettings, FilterSettings
from magdiff_curation.repack import repack
from magdiff_curation.sources import list_inputs
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset


@pytest.fixture
def grown(tmp_path: Path) -> CurationSettings:
    """A set that grew by one clip at a time, so that every clip has a shard of its own."""
    manifest = write_dataset(tmp_path / "world", DatasetSettings(num_clips=3, seed=31, width=160, height=128))
    rules = FilterSettings(min_short_side_px=128)
    settings = CurationSettings(source=manifest, output=tmp_path / "out", filters=rules)
    for limit in (1, 2, 3):
        curate_here(replace(settings, limit=limit))
    assert len(load_shard_list(settings.output).shards) == 3
    return settings


def clips(output: Path) -> dict[str, bytes]:
    return {
        clip.record.key: clip.to_members()["mp4"] + clip.to_members()["masks.json"]
        for shard in load_shard_list(output).shards
        for clip in ShardReader(output / shard)
    }


def test_many_small_shards_become_one_with_the_same_clips_in_order(grown: CurationSettings) -> None:
    before = clips(grown.output)
    listing = repack(grown.output, 10**9)
    assert listing.shards == ("clips-r1-000000.tar",)
    assert list(clips(grown.output)) == sorted(before)
    assert clips(grown.output) == before
    assert sorted(path.name for path in grown.output.glob("clips*")) == ["clips-r1-000000.index.json", *listing.shards]
    assert {row["status"] for row in curate_here(grown).values()} == {"kept"}
    assert load_shard_list(grown.output) == listing


def test_a_repacking_that_stops_half_way_changes_nothing(grown: CurationSettings) -> None:
    before, listing = clips(grown.output), load_shard_list(grown.output)
    calls = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repack(grown.output, 1, stop)
    assert (load_shard_list(grown.output), clips(grown.output)) == (listing, before)
    assert len(repack(grown.output, 1).shards) == 3
    assert len(list(grown.output.glob("clips*.tar"))) == 3


def test_damaged_shards_are_refused_and_left_as_they_are(grown: CurationSettings) -> None:
    shard = grown.output / load_shard_list(grown.output).shards[0]
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ShardError, match="is damaged"):
        repack(grown.output, 10**9)
    assert len(load_shard_list(grown.output).shards) == 3


def test_parts_deal_out_every_input_once(grown: CurationSettings) -> None:
    parts = [[state.source for state in list_inputs(replace(grown, parts=2, part=part))] for part in (1, 2)]
    assert sorted([*parts[0], *parts[1]]) == [f"videos/0000{number}.mp4" for number in range(3)]
    with pytest.raises(ValueError, match="part 3 of 2"):
        replace(grown, part=3, parts=2)
