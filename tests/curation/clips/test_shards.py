from pathlib import Path

import numpy as np
import pytest
import webdataset

from magdiff_curation.clips.index import ShardError, index_path, load_shard_list
from magdiff_curation.clips.record import MEMBERS, Clip, ClipRecord
from magdiff_curation.clips.shards import ShardReader, pack_sample, unpack_sample, write_shard
from magdiff_curation.clips.video import encode
from magdiff_curation.toyworld.scene import render, sample_scene


def make_clip(index: int) -> Clip:
    scene = sample_scene(2, index)
    frames, masks = render(scene, height=64, width=64, num_frames=8)
    record = ClipRecord(
        key=f"{index:032x}",
        caption=scene.caption,
        augmented_caption=f"{scene.caption}, {scene.noun}",
        label=scene.noun,
        category="object",
        width=64,
        height=64,
        num_frames=8,
        frame_rate=8.0,
        scores={"area_ratio_first": 0.2},
        provenance={"source": "ä/ö.mp4"},
    )
    return Clip(record=record, video=encode(frames, 8), masks=masks)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "clips-000000.tar"
    clips = [make_clip(index) for index in range(3)]
    write_shard(path, ((clip.record.key, pack_sample(clip.record.key, clip.to_members())) for clip in clips))
    return path


def test_a_shard_written_twice_has_the_same_bytes(shard: Path, tmp_path: Path) -> None:
    clips = [make_clip(index) for index in range(3)]
    again = tmp_path / "again" / shard.name
    write_shard(again, ((clip.record.key, pack_sample(clip.record.key, clip.to_members())) for clip in clips))
    assert again.read_bytes() == shard.read_bytes()
    assert index_path(again).read_bytes() == index_path(shard).read_bytes()


def test_clips_come_back_as_they_went_in(shard: Path) -> None:
    for index, clip in enumerate(ShardReader(shard)):
        expected = make_clip(index)
        assert clip.record == expected.record
        assert clip.video == expected.video
        assert np.array_equal(clip.masks, expected.masks)


def test_plain_webdataset_reads_the_shard(shard: Path) -> None:
    samples = list(webdataset.WebDataset(str(shard), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{index:032x}" for index in range(3)]
    for index, sample in enumerate(samples):
        assert set(MEMBERS) <= set(sample)
        assert sample["mp4"] == make_clip(index).video


def read_all(path: Path) -> None:
    for _ in ShardReader(path):
        pass


def test_any_flipped_byte_is_refused_by_name(shard: Path) -> None:
    content = shard.read_bytes()
    rng = np.random.default_rng(0)
    for position in [0, len(content) - 1, len(content) - 600, *rng.integers(0, len(content), 60)]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        shard.write_bytes(damaged)
        with pytest.raises(ShardError, match=shard.name):
            read_all(shard)


def test_any_cut_tail_is_refused_by_name(shard: Path) -> None:
    content = shard.read_bytes()
    for length in [0, 1, len(content) - 1, *np.random.default_rng(1).integers(0, len(content), 40)]:
        shard.write_bytes(content[:length])
        with pytest.raises(ShardError, match=shard.name):
            read_all(shard)


def test_a_missing_or_damaged_index_is_refused(shard: Path) -> None:
    index = index_path(shard)
    content = index.read_bytes()
    for damaged in (content[:-5], b"{}", b"[]", content.replace(b'"offset":0', b'"offset":512', 1)):
        index.write_bytes(damaged)
        with pytest.raises(ShardError, match=index.name):
            ShardReader(shard)
    index.unlink()
    with pytest.raises(ShardError, match="has no index"):
        ShardReader(shard)
    with pytest.raises(ShardError, match="not a finished set"):
        load_shard_list(shard.parent)


def test_members_outside_the_schema_are_refused() -> None:
    with pytest.raises(ValueError, match="pkl"):
        unpack_sample(pack_sample("key", {"pkl": b"cos\nsystem\n"}))
    with pytest.raises(ValueError, match="dots"):
        pack_sample("a.b", {"mp4": b""})


def test_masks_that_do_not_fit_the_record_are_refused() -> None:
    clip = make_clip(0)
    with pytest.raises(ValueError, match="its record says"):
        Clip(record=clip.record, video=clip.video, masks=clip.masks[:-1]).to_members()
