"""A small set of shards and the zoo's base, for the tests of training and sampling."""

from __future__ import annotations

from pathlib import Path

import pytest

from magdiff_curation.clips.atomic import sha256_hex
from magdiff_curation.clips.index import ShardList, save_shard_list
from magdiff_curation.clips.record import Clip, ClipRecord
from magdiff_curation.clips.shards import pack_sample, write_shard
from magdiff_curation.clips.video import encode
from magdiff_curation.toyworld.scene import render, sample_scene


def toy_clip(index: int, num_frames: int = 16) -> Clip:
    scene = sample_scene(77, index)
    frames, masks = render(scene, height=72, width=96, num_frames=num_frames)
    record = ClipRecord(
        key=f"clip{index:03d}",
        caption=scene.caption,
        augmented_caption=f"{scene.caption}, {scene.noun}",
        label=scene.noun,
        category="object",
        width=96,
        height=72,
        num_frames=num_frames,
        frame_rate=8.0,
        scores={},
        provenance={},
    )
    return Clip(record=record, video=encode(frames, 8), masks=masks)


def write_shards(folder: Path, clips: list[Clip]) -> Path:
    index = write_shard(
        folder / "clips-000000.tar",
        ((clip.record.key, pack_sample(clip.record.key, clip.to_members())) for clip in clips),
    )
    listing = ShardList(
        shards=(index.shard,),
        index_sha256=(sha256_hex(index.to_json()),),
        num_samples=(len(clips),),
        settings_sha256="",
    )
    save_shard_list(folder, listing)
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), [toy_clip(index) for index in range(6)])
