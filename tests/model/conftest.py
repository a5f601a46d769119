"""A small set of shards and the zoo's base, for the tests of training and sampling."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from tests_support import VISION_ZOO

from magdiff_curation.backends import new_masker
from magdiff_curation.clips.atomic import sha256_hex
from magdiff_curation.clips.index import ShardList, save_shard_list
from magdiff_curation.clips.masks import Frames, Masks, encode_rle
from magdiff_curation.clips.record import Clip, ClipRecord
from magdiff_curation.clips.shards import pack_sample, write_shard
from magdiff_curation.clips.video import encode
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_model.checkpoints import load_pipeline

_load_pipeline = functools.cache(load_pipeline)
_new_masker = functools.cache(new_masker)


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


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toyworld video of 16 frames, its first picture, masks of every kind, and files that are none of these."""
    folder = tmp_path_factory.mktemp("media")
    frames, masks = render(sample_scene(3, 1), height=128, width=160, num_frames=16)
    (folder / "video.mp4").write_bytes(encode(frames, 8))
    (folder / "short.mp4").write_bytes(encode(frames[:5], 8))
    (folder / "one.mp4").write_bytes(encode(frames[:1], 8))
    (folder / "broken.mp4").write_bytes(encode(frames, 8)[:2000])
    (folder / "video.masks.json").write_text(json.dumps([encode_rle(mask) for mask in masks]))
    PillowImage.fromarray(frames[0]).save(folder / "image.png")
    (folder / "broken.png").write_bytes((folder / "image.png").read_bytes()[:1000])
    PillowImage.fromarray(np.zeros((128, 160), np.uint8)).save(folder / "empty.png")
    PillowImage.fromarray(np.full((64, 64), 255, np.uint8)).save(folder / "small.png")
    for name, chosen in (("masks", masks), ("few", masks[:3]), ("gaps", masks & (np.arange(16) != 4)[:, None, None])):
        (folder / name).mkdir()
        for index, mask in enumerate(chosen):
            PillowImage.fromarray(mask.astype(np.uint8) * 255).save(folder / name / f"{index:03d}.png")
    (folder / "text.txt").write_text("not media")
    return folder


@pytest.fixture(scope="session")
def truth() -> tuple[Frames, Masks]:
    """The frames and masks of `media`'s video, before it was encoded."""
    return render(sample_scene(3, 1), height=128, width=160, num_frames=16)


@pytest.fixture(scope="session")
def zoo_vision(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A settings file as curate.py takes it, with the zoo's models."""
    path = tmp_path_factory.mktemp("vision") / "vision.yaml"
    path.write_text(
        "mask:\n  grounder: zero_shot\n"
        f"  zero_shot: {{model: '{VISION_ZOO / 'detector'}', device: cpu, threshold: 0.4}}\n"
        f"  segmenter: sam\n  sam: {{weights: '{VISION_ZOO / 'sam'}', device: cpu}}\n  tracker: reprompt\n"
    )
    return str(path)


@pytest.fixture
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads the zoo's models once for all tests."""
    monkeypatch.setattr("magdiff_model.video_command.load_pipeline", _load_pipeline)
    monkeypatch.setattr("magdiff_curation.backends.new_masker", _new_masker)
