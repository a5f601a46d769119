"""Latents kept beside shards: what training would have made of the same clips, and nothing that is not theirs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from model.data.support import write_set
from model.training.runs import losses, small
from object_store import object_store

from magdiff_curation.clips.index import load_index
from magdiff_curation.clips.location import location
from magdiff_curation.clips.record import Clip
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.clips.stores import put_file
from magdiff_model.data.batch import collate
from magdiff_model.data.latents import LatentSamples
from magdiff_model.data.samples import ClipSamples, DataSettings
from magdiff_model.data.shards import find_shards
from magdiff_model.encode_clips import ClipEncoder
from magdiff_model.training.distributed import join
from magdiff_model.training.loop import train
from magdiff_model.training.settings import TrainSettings
from magdiff_model.training.trainer import Trainer

CPU = torch.device("cpu")
DATA = DataSettings(num_frames=4, frame_stride=2, window_starts=3, multi_slot=0.5, prompt_drop=0.3)


@pytest.fixture(scope="session")
def clips(shards: Path) -> list[Clip]:
    return list(ShardReader(shards / "clips-000000.tar"))


@pytest.fixture
def two_shards(clips: list[Clip], tmp_path: Path) -> Path:
    return write_set(tmp_path / "set", [clips[:3], clips[3:6]])


def settings_of(shards: Path, base: str, output: Path, **changes: object) -> TrainSettings:
    return small(shards, base, output, **{"data": DATA, "latents": "fp32", **changes})


def encode(settings: TrainSettings) -> tuple[ClipEncoder, list[str]]:
    encoder = ClipEncoder(settings, CPU)
    problems = [told for shard in find_shards(settings.shards) for told in encoder.write(shard)]
    return encoder, problems


def both(encoder: ClipEncoder) -> tuple[ClipSamples, LatentSamples]:
    settings, pipeline = encoder.settings, encoder.pipeline
    shards = find_shards(settings.shards)
    read = (settings.data, encoder.subject, pipeline.latent_size(), pipeline.scheduler.config.num_train_timesteps)
    return ClipSamples(shards, *read), LatentSamples(shards, *read, made=encoder.made)


@pytest.mark.parametrize("empty_slots", ["masked_image", "zero_latent"])
def test_latents_are_what_training_makes_of_the_same_samples(
    two_shards: Path, tiny_base: str, tmp_path: Path, empty_slots: str
) -> None:
    settings = settings_of(two_shards, tiny_base, tmp_path)
    settings = dataclasses.replace(
        settings, alignments=dataclasses.replace(settings.alignments, empty_slots=empty_slots)
    )
    encoder, problems = encode(settings)
    assert problems == []
    raw, kept = both(encoder)
    seen_slots, seen_drops = set(), set()
    with join("cpu") as ranks:
        trainer = Trainer(encoder.pipeline, settings, ranks)
        for first in range(0, 18, 3):  # three epochs
            from_clips = collate([raw[number] for number in range(first, first + 3)])
            from_latents = collate([kept[number] for number in range(first, first + 3)])
            assert from_latents.keys == from_clips.keys
            seen_slots |= {int(filled.sum()) for filled in from_clips.filled}
            seen_drops |= {caption == "" for caption in from_clips.captions}
            expected, found = trainer.encode(from_clips), trainer.encode(from_latents)
            for field in dataclasses.fields(expected):
                torch.testing.assert_close(
                    getattr(found, field.name), getattr(expected, field.name), rtol=1e-4, atol=1e-5
                )
    assert seen_slots == {1, 4}
    assert seen_drops == {True, False}


def test_a_run_from_latents_has_the_same_losses(two_shards: Path, tiny_base: str, tmp_path: Path) -> None:
    runs = {}
    for kept in ("none", "fp32", "fp16"):
        settings = settings_of(two_shards, tiny_base, tmp_path / kept, latents=kept, steps=6)
        if kept != "none":
            encode(settings)
        train(settings)
        runs[kept] = losses(tmp_path / kept)
    assert runs["fp32"] == pytest.approx(runs["none"], rel=1e-5)
    assert runs["fp16"] == pytest.approx(runs["none"], rel=5e-3)


def test_what_is_there_is_passed_over_and_what_was_cut_off_is_not(
    two_shards: Path, tiny_base: str, tmp_path: Path
) -> None:
    settings = settings_of(two_shards, tiny_base, tmp_path)
    encoder, _ = encode(settings)
    first, second = find_shards(settings.shards)
    written = encoder.path(first).read_bytes()
    assert encoder.is_done(first)
    encoder.path(second).with_name(load_index(encoder.path(second)).shard.replace(".tar", ".index.json")).unlink()
    assert not encoder.is_done(second), "a tar without an index was never finished"
    with pytest.raises(ValueError, match=r"encode the clips first, with pipelines/encode_latents\.py"):
        both(encoder)
    encoder.write(second)
    encoder.write(first)
    assert encoder.path(first).read_bytes() == written
    both(encoder)
    made_by = json.loads((encoder.path(first).parent / "made_by.json").read_bytes())
    assert made_by["data"]["window_starts"] == 3
    assert "vae/diffusion_pytorch_model.safetensors" in made_by["encoders"]


def test_other_clips_settings_and_encoders_have_no_such_latents(
    two_shards: Path, clips: list[Clip], tiny_base: str, tmp_path: Path
) -> None:
    settings = settings_of(two_shards, tiny_base, tmp_path)
    encoder, _ = encode(settings)
    for change in ({"window_starts": 2}, {"frame_stride": 3}, {"caption": "caption"}, {"multi_slot": 0.0}):
        with pytest.raises(ValueError, match="encode the clips first"):
            train(dataclasses.replace(settings, data=dataclasses.replace(DATA, **change)))
    with pytest.raises(ValueError, match="encode the clips first"):
        train(dataclasses.replace(settings, latents="fp16"))
    write_set(two_shards, [clips[:2], clips[3:6]])
    with pytest.raises(ValueError, match=r"clips-000000-\w+\.tar has no index"):
        both(encoder)


def test_latents_need_a_fixed_number_of_starts_and_the_middle_square(
    two_shards: Path, tiny_base: str, tmp_path: Path
) -> None:
    for change in ({"window_starts": 0}, {"crop": "random"}):
        with pytest.raises(ValueError, match=r"set data\.window_starts .* and leave data\.crop at middle"):
            train(settings_of(two_shards, tiny_base, tmp_path, data=dataclasses.replace(DATA, **change)))


def test_a_clip_that_cannot_be_encoded_is_kept_as_the_error_that_it_is(
    clips: list[Clip], tiny_base: str, tmp_path: Path
) -> None:
    bad = Clip(record=clips[1].record, video=clips[1].video[:-2000], masks=clips[1].masks)
    shards = write_set(tmp_path / "set", [[clips[0], bad, clips[2]]])
    settings = settings_of(shards, tiny_base, tmp_path)
    encoder, (problem,) = encode(settings)
    assert problem.startswith(f"{bad.record.key}: {shards}/clips-000000.tar, clip {bad.record.key}: ")
    _, kept = both(encoder)
    keys = []
    for number in range(3):
        if kept.key_of(number) == bad.record.key:
            with pytest.raises(ValueError, match=bad.record.key):
                kept[number]
        else:
            keys += kept[number].keys
    assert sorted(keys) == sorted({clips[0].record.key, clips[2].record.key})
    forgiving = dataclasses.replace(settings, data=dataclasses.replace(DATA, max_skipped=1))
    _, kept = both(ClipEncoder(forgiving, CPU))
    assert sum(len(kept[number].skipped) for number in range(3)) == 1


def test_latents_lie_beside_shards_on_s3_too(
    two_shards: Path, tiny_base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAGDIFF_CACHE", str(tmp_path / "cache"))
    local, _ = encode(settings_of(two_shards, tiny_base, tmp_path))
    with object_store() as bucket:
        for file in sorted(two_shards.glob("*.*")):
            put_file(location(f"{bucket}/set/{file.name}"), file)
        settings = dataclasses.replace(local.settings, shards=(f"{bucket}/set",))
        encoder, problems = encode(settings)
        assert problems == []
        assert all(encoder.is_done(shard) for shard in find_shards(settings.shards))
        train(dataclasses.replace(settings, steps=2))
    train(dataclasses.replace(local.settings, output=tmp_path / "local", steps=2))
    assert losses(tmp_path) == losses(tmp_path / "local")


def test_fp16_takes_half_the_space_that_the_dry_run_says(two_shards: Path, tiny_base: str, tmp_path: Path) -> None:
    sizes = {}
    for kept in ("fp32", "fp16"):
        encoder, _ = encode(settings_of(two_shards, tiny_base, tmp_path, latents=kept))
        sizes[kept] = sum(encoder.path(shard).stat().st_size for shard in find_shards([str(two_shards)]))
        assert sizes[kept] == pytest.approx(6 * encoder.clip_bytes(), rel=0.1)
    assert sizes["fp16"] == pytest.approx(sizes["fp32"] / 2, rel=0.05)
