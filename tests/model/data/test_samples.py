import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from model.data.support import Web, equal, samples_of, write_set

from magdiff_curation.clips.foreign import index_shards
from magdiff_curation.clips.index import ShardError, load_index
from magdiff_curation.clips.masks import encode_rle
from magdiff_curation.clips.record import Clip
from magdiff_curation.clips.shards import ShardReader, pack_sample, write_shard
from magdiff_curation.clips.video import decode, encode
from magdiff_model.data.clip import Starts, in_sight, random_square, square, starts_of, window
from magdiff_model.data.framing import framed_frames, framed_masks, is_inside
from magdiff_model.data.samples import DataSettings
from magdiff_model.data.subjects import visible

KEYS = [f"clip{index:03d}" for index in range(6)]


def test_an_epoch_has_every_clip_once_and_the_next_one_another_order(shards: Path) -> None:
    data = samples_of(shards)
    keys = [data[number].keys[0] for number in range(12)]
    assert sorted(keys[:6]) == sorted(keys[6:]) == KEYS
    assert keys[:6] != keys[6:]
    assert keys == [data.key_of(number) for number in range(12)]
    assert keys != [samples_of(shards, seed=6).key_of(number) for number in range(12)]


def test_several_shards_are_shuffled_and_windows_narrow_and_none_is_read_for_a_key(three_shards: Path) -> None:
    data = samples_of(three_shards, shuffle_window=2)
    for epoch in range(5):
        keys = [data.key_of(epoch * 6 + position) for position in range(6)]
        assert sorted(keys) == KEYS
        assert all({int(key[-1]) // 2 for key in keys[start : start + 2]} != {0, 1, 2} for start in (0, 2, 4))
    assert len({data.key_of(6 * epoch)[-1] for epoch in range(20)}) > 3


def test_a_sample_holds_the_clips_own_frames_and_its_first_frames_subject(shards: Path) -> None:
    batch = samples_of(shards, num_frames=4, frame_masks=True)[0]
    clip = ShardReader(shards / "clips-000000.tar").read(batch.keys[0])
    truth = framed_frames(decode(clip.video), 32)
    (start,) = [s for s in range(16 - 6) if torch.equal(batch.frames[0], truth[s : s + 7 : 2])]
    assert batch.masks is not None
    assert torch.equal(batch.masks[0], framed_masks(clip.masks, 32)[start : start + 7 : 2])
    assert batch.filled.tolist() == [[True, False, False, False]]
    assert shows(batch.pyramid[-1][0], batch.frames[0, 0], batch.masks[0, 0])
    assert 0.05 < batch.masks[0, 0].float().mean() < 0.6


def test_every_slot_is_filled_where_multi_slot_says_so(shards: Path) -> None:
    batch = samples_of(shards, multi_slot=1.0)[0]
    assert batch.filled.all()
    assert [len(scale) for scale in batch.pyramid] == [8, 8, 8]
    assert batch.clip_pictures.shape[1] == 8
    assert not torch.equal(batch.clip_pictures[0, 0], batch.clip_pictures[0, 7])


def test_prompts_are_dropped_as_often_as_asked_for(shards: Path) -> None:
    data = samples_of(shards, prompt_drop=0.3)
    dropped = np.mean([data[number].captions[0] == "" for number in range(120)])
    assert 0.18 < dropped < 0.42
    assert all(samples_of(shards, prompt_drop=0.0)[number].captions[0] for number in range(12))


def shows(picture: torch.Tensor, frame: torch.Tensor, mask: torch.Tensor) -> bool:
    """Return whether a picture of a subject is of this frame and mask."""
    return torch.equal(picture[..., :3], frame) and torch.equal(is_inside(picture[..., 3]), mask)


def starts(shown: np.ndarray, settings: DataSettings) -> Starts:
    mask = np.zeros((8, 8), bool)
    blank, seen = encode_rle(mask), encode_rle(~mask)
    return starts_of(b"", [seen if shows else blank for shows in shown], settings, 8)


def test_a_window_shrinks_its_stride_to_a_short_clip_and_refuses_one_that_is_too_short() -> None:
    rng = np.random.default_rng(0)
    settings = DataSettings(num_frames=8, frame_stride=4)
    seen = np.ones(30, bool)
    assert window(starts(seen[:8], settings), settings, rng).tolist() == list(range(8))
    assert np.diff(window(starts(seen, settings), settings, rng)).tolist() == [4] * 7
    with pytest.raises(ValueError, match="it has 7 frames, training takes 8"):
        starts(seen[:7], settings)


def test_a_window_starts_where_the_subject_is_in_sight_each_such_place_as_likely() -> None:
    rng = np.random.default_rng(0)
    settings = DataSettings(num_frames=4, frame_stride=2)
    seen = np.zeros(12, bool)
    seen[[1, 3, 11]] = True
    drawn = [int(window(starts(seen, settings), settings, rng)[0]) for _ in range(400)]
    assert set(drawn) == {1, 3}
    assert 150 < drawn.count(1) < 250
    for few in (0, 2):
        nowhere = DataSettings(num_frames=4, frame_stride=2, window_starts=few)
        with pytest.raises(ValueError, match="its subject is outside the middle square"):
            window(starts(np.zeros(10, bool), nowhere), nowhere, rng)


def test_a_few_starts_are_spread_evenly_over_those_that_show_the_subject() -> None:
    seen = np.ones(40, bool)
    seen[:10] = False
    settings = DataSettings(num_frames=3, frame_stride=5, window_starts=3)
    found = starts(seen, settings)
    assert found.shown(3).tolist() == [13, 20, 26]
    assert found.shown(1).tolist() == [20]
    assert found.shown(99).tolist() == found.shown(0).tolist() == list(range(10, 30))
    rng = np.random.default_rng(0)
    assert {int(window(found, settings, rng)[0]) for _ in range(50)} == {13, 20, 26}


def test_a_glance_at_a_mask_says_what_resizing_it_says() -> None:
    trials = np.random.default_rng(0)
    answers = []
    for _ in range(400):
        height, width = trials.integers(20, 90, 2).tolist()
        rows, columns = np.mgrid[:height, :width]
        row, column = trials.uniform(0, height), trials.uniform(0, width)
        distance = np.hypot(rows - row, columns - column)
        radius, hole = trials.uniform(0, 12), trials.uniform(0, 8)
        mask = np.asfortranarray((distance < radius) & (distance >= hole * (trials.uniform() < 0.5)))
        size_px = int(trials.choice([8, 16, 24, 40, 96]))
        answers.append(in_sight(encode_rle(mask), size_px))
        assert answers[-1] == visible(mask[None], size_px)[0]
    assert 0.2 < np.mean(answers) < 0.8


@pytest.mark.parametrize("shape", [(40, 64), (64, 40)])
def test_a_random_square_shows_the_subject_and_reaches_every_place_that_does(shape: tuple[int, int]) -> None:
    frames = np.zeros((2, *shape, 3), np.uint8)
    masks = np.zeros((2, *shape), bool)
    masks[0, 18:22, 18:22] = True
    masks[1] = True
    rng = np.random.default_rng(0)
    places = {random_square(frames, masks, 20, rng) for _ in range(300)}
    assert places == set(range(21)), "beyond 20 too little of the mask is left to be seen"
    assert {random_square(frames, None, 20, rng) for _ in range(300)} == set(range(25))
    pictures = (
        np.arange(64)[:, None] * np.ones(40, int) if shape[0] > shape[1] else np.arange(64) * np.ones((40, 1), int)
    )
    cut = square(pictures[None], 7)[0]
    assert cut.shape == (40, 40)
    assert (cut.min(), cut.max()) == (7, 46)


def test_a_random_crop_keeps_frames_masks_and_subject_in_one_square(shards: Path) -> None:
    data = samples_of(shards, crop="random", frame_masks=True, multi_slot=0.5)
    places = set()
    for number in range(12):
        batch = data[number]
        assert batch.masks is not None
        clip = ShardReader(shards / "clips-000000.tar").read(batch.keys[0])
        frames = decode(clip.video)
        found = [
            (place, start)
            for place in range(25)
            for start in range(2)
            if torch.equal(batch.frames[0, 0], framed_frames(square(frames[start : start + 1], place), 32)[0])
        ]
        ((place, start),) = found
        places.add(place)
        taken = slice(start, start + 15, 2)
        assert torch.equal(batch.masks[0], framed_masks(square(clip.masks[taken], place), 32))
        assert torch.equal(batch.frames[0], framed_frames(square(frames[taken], place), 32))
        shown = batch.filled[0]
        assert shows(batch.pyramid[-1], batch.frames[0][shown], batch.masks[0][shown])
        assert batch.masks[0, 0].any()
    assert len(places) > 6


def test_held_out_clips_are_those_whose_keys_hash_lowest_and_train_nowhere(three_shards: Path) -> None:
    lowest = sorted(KEYS, key=lambda key: hashlib.sha256(key.encode()).digest())[:2]
    training, held_out = samples_of(three_shards, held_out_clips=2), samples_of(three_shards, True, held_out_clips=2)
    assert (len(training), len(held_out)) == (4, 2)
    assert sorted(held_out.key_of(number) for number in range(2)) == sorted(lowest)
    for epoch in range(3):
        assert sorted(training.key_of(4 * epoch + n) for n in range(4)) == sorted(set(KEYS) - set(lowest))
    assert held_out[1].keys == [held_out.key_of(1)]
    with pytest.raises(ValueError, match=r"hold 6 clips, of which none is left with data\.held_out_clips 6"):
        samples_of(three_shards, held_out_clips=6)


def test_a_clip_that_is_there_twice_is_held_out_twice(clips: list[Clip], tmp_path: Path) -> None:
    folder = write_set(tmp_path, [clips, clips])
    training, held_out = samples_of(folder, held_out_clips=2), samples_of(folder, True, held_out_clips=2)
    assert (len(training), len(held_out)) == (8, 4)
    assert not {training.key_of(n) for n in range(8)} & {held_out.key_of(n) for n in range(4)}


def damage(folder: Path, shard: str, key: str) -> None:
    path = folder / shard
    entry = next(entry for entry in load_index(path).samples if entry.key == key)
    content = bytearray(path.read_bytes())
    content[entry.offset + entry.length // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_sample_is_refused_by_name_or_stood_for_by_the_next(clips: list[Clip], tmp_path: Path) -> None:
    folder = write_set(tmp_path, [clips[:3], clips[3:]])
    whole = samples_of(folder)
    number = next(n for n in range(6) if whole.key_of(n) == "clip004")
    next_key = whole.key_of((number + 1) % 6)
    damage(folder, "clips-000001.tar", "clip004")
    with pytest.raises(ShardError, match=r"clips-000001\.tar is damaged: clip clip004"):
        samples_of(folder)[number]
    mended = samples_of(folder, max_skipped=1)
    first, again = mended[number], mended[number]
    assert first.keys == [next_key]
    assert equal(first, again)
    (reason,) = first.skipped
    assert reason.startswith("clip004: ")
    assert "is damaged: clip clip004" in reason
    damage(folder, f"clips-00000{int(next_key[-1]) // 3}.tar", next_key)
    with pytest.raises(ShardError, match=f"is damaged: clip {next_key}"):
        mended[number]
    assert len(samples_of(folder, max_skipped=2)[number].skipped) == 2


def test_what_is_skipped_is_replaced_within_its_piece_of_the_epoch(clips: list[Clip], tmp_path: Path) -> None:
    folder = write_set(tmp_path, [clips])
    data = samples_of(folder, node_groups=2, max_skipped=1)
    damage(folder, "clips-000000.tar", data.key_of(1))
    assert data[1].keys == [data.key_of(3)]


def test_a_clip_that_is_too_short_or_lies_about_itself_is_refused_by_name(clips: list[Clip], tmp_path: Path) -> None:
    clip = clips[0]
    frames = decode(clip.video)
    short = Clip(record=replace(clip.record, num_frames=5), video=encode(frames[:5], 8), masks=clip.masks[:5])
    with pytest.raises(ValueError, match=r"clips-000000\.tar, clip clip000: it has 5 frames, training takes 8"):
        samples_of(write_set(tmp_path / "short", [[short]]))[0]
    cut = Clip(record=clip.record, video=clip.video[:-2000], masks=clip.masks)
    with pytest.raises(ValueError, match=r"clips-000000\.tar, clip clip000: "):
        samples_of(write_set(tmp_path / "cut", [[cut]]))[0]
    other = Clip(record=clip.record, video=encode(frames[:, :64], 8), masks=clip.masks)
    with pytest.raises(
        ValueError, match=r"clip clip000: its masks \(1, 72, 96\) do not fit its frames \(8, 64, 96, 3\)"
    ):
        samples_of(write_set(tmp_path / "other", [[other]]))[0]


def foreign_set(folder: Path, members: dict[str, bytes]) -> Path:
    write_shard(folder / "theirs.tar", [("0001", pack_sample("0001", members))])
    (folder / "theirs.index.json").unlink()
    index_shards(folder)
    return folder


def test_other_tools_shards_train_where_their_videos_are_trusted(clips: list[Clip], tmp_path: Path) -> None:
    clip = clips[0]
    folder = foreign_set(tmp_path, {"mp4": clip.video, "txt": b"a dog\n", "json": b'{"caption": "no"}'})
    with pytest.raises(PermissionError, match=r"theirs\.tar: sample 0001 has json, mp4, txt.*set data\.trusted_videos"):
        samples_of(folder, max_skipped=9)[0]
    batch = samples_of(folder, trusted_videos=True, prompt_drop=0.0, frame_masks=True, multi_slot=1.0)[0]
    assert (batch.keys, batch.captions) == (["0001"], ["a dog"])
    assert (batch.pyramid[-1][..., 3] == 255).all(), "without masks the whole frame is the subject"
    assert batch.masks is not None
    assert batch.masks.all()


def test_captions_and_masks_of_other_tools_come_from_where_they_are(clips: list[Clip], tmp_path: Path) -> None:
    ours = clips[0].to_members()
    settings = {"trusted_videos": True, "prompt_drop": 0.0, "caption": "caption"}
    folder = foreign_set(
        tmp_path / "a", {"mp4": ours["mp4"], "json": b'{"caption": "a cat"}', "masks.json": ours["masks.json"]}
    )
    batch = samples_of(folder, **settings)[0]
    assert batch.captions == ["a cat"]
    assert not (batch.pyramid[-1][..., 3] == 255).all()
    for number, (members, message) in enumerate(
        [
            ({"mp4": ours["mp4"], "json": b"[1]"}, "it has no caption"),
            ({"mp4": ours["mp4"], "txt": b"a", "masks.json": b"[1]"}, r"its \.masks\.json holds other things"),
            ({"mkv": ours["mp4"], "txt": b"a"}, r"it has no \.mp4"),
            ({"mp4": b"ftyp", "txt": b"a"}, "not a readable mp4"),
        ]
    ):
        with pytest.raises(ValueError, match=rf"theirs\.tar, clip 0001: {message}"):
            samples_of(foreign_set(tmp_path / str(number), members), **settings)[0]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.shuffle_window is 0; it must be at least 1"):
        DataSettings(shuffle_window=0)


def test_a_set_on_the_web_fetches_no_tar_before_a_sample_is_read(
    web: Web, three_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAGDIFF_CACHE", str(tmp_path))
    data = samples_of(web.url)
    assert not [name for name, _ in web.asked if name.endswith(".tar")]
    assert equal(data[0], samples_of(three_shards)[0])
    assert len([name for name, _ in web.asked if name.endswith(".tar")]) == 1
    assert len(list((tmp_path / "shards").glob("*.tar"))) == 1
    damage_copy = next((tmp_path / "shards").glob("*.tar"))
    damage_copy.write_bytes(bytes(damage_copy.stat().st_size))
    with pytest.raises(ShardError, match=rf"{web.url}/clips-00000.\.tar is damaged"):
        data[0]
