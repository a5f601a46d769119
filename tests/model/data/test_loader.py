import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.clips.video import decode
from magdiff_model.data.framing import framed_frames
from magdiff_model.data.loader import Batch, ClipSamples, DataSettings, batches, window
from magdiff_model.data.order import epoch_order
from magdiff_model.data.subjects import SubjectSettings

SUBJECT = SubjectSettings(size_px=32, clip_size_px=24)


def samples(shards: Path, **settings: object) -> ClipSamples:
    return ClipSamples(shards, DataSettings(**{"frame_stride": 2, "seed": 5} | settings), SUBJECT, (4, 8, 8), 1000)


def equal(left: Batch, right: Batch) -> bool:
    tensors = ("frames", "filled", "clip_pixels", "noise", "timesteps")
    return (
        left.keys == right.keys
        and left.captions == right.captions
        and all(torch.equal(getattr(left, name), getattr(right, name)) for name in tensors)
        and all(torch.equal(a, b) for a, b in zip(left.pyramid, right.pyramid, strict=True))
    )


def test_an_epoch_has_every_clip_once_and_the_next_one_another_order(shards: Path) -> None:
    data = samples(shards)
    keys = [data[number].keys[0] for number in range(12)]
    assert sorted(keys[:6]) == sorted(keys[6:]) == [f"clip{index:03d}" for index in range(6)]
    assert keys[:6] != keys[6:]
    assert epoch_order(6, 5, 0).tolist() != epoch_order(6, 6, 0).tolist()


def test_batches_are_the_same_from_any_first_step_and_for_any_number_of_workers(shards: Path) -> None:
    data = samples(shards, multi_slot=0.5, prompt_drop=0.5)
    whole = list(batches(data, 4, 0, 6, 0))
    resumed = list(batches(data, 4, 3, 6, 0))
    assert all(equal(a, b) for a, b in zip(whole[3:], resumed, strict=True))
    assert not equal(whole[0], whole[3])
    spread = list(batches(data, 4, 0, 2, 1))
    assert all(equal(a, b) for a, b in zip(whole[:2], spread, strict=True))


def test_a_sample_holds_the_clips_own_frames_and_its_first_frames_subject(shards: Path) -> None:
    data = samples(shards, num_frames=4)
    batch = data[0]
    clip = ShardReader(shards / "clips-000000.tar").read(batch.keys[0])
    truth = framed_frames(decode(clip.video), 32)
    starts = [s for s in range(16 - 6) if torch.equal(batch.frames[0], truth[s : s + 7 : 2])]
    assert len(starts) == 1
    assert batch.filled.tolist() == [[True, False, False, False]]
    inside = batch.pyramid[-1][0].abs().sum(dim=0) > 0
    difference = (batch.pyramid[-1][0] - batch.frames[0, 0]).abs().sum(dim=0)
    assert difference[inside].max() == 0
    assert 0.05 < inside.float().mean() < 0.6


def test_every_slot_is_filled_where_multi_slot_says_so(shards: Path) -> None:
    batch = samples(shards, multi_slot=1.0)[0]
    assert batch.filled.all()
    assert [len(scale) for scale in batch.pyramid] == [8, 8, 8]
    assert batch.clip_pixels.shape[1] == 8
    assert not torch.equal(batch.clip_pixels[0, 0], batch.clip_pixels[0, 7])


def test_prompts_are_dropped_as_often_as_asked_for(shards: Path) -> None:
    data = samples(shards, prompt_drop=0.3)
    dropped = np.mean([data[number].captions[0] == "" for number in range(120)])
    assert 0.18 < dropped < 0.42
    assert all(samples(shards, prompt_drop=0.0)[number].captions[0] for number in range(12))


def test_a_window_shrinks_its_stride_to_a_short_clip_and_refuses_one_that_is_too_short() -> None:
    rng = np.random.default_rng(0)
    seen = np.ones(30, bool)
    assert window(seen[:8], 8, 4, rng, "k").tolist() == list(range(8))
    assert np.diff(window(seen, 8, 4, rng, "k")).tolist() == [4] * 7
    with pytest.raises(ValueError, match="clip k has 7 frames, training takes 8"):
        window(seen[:7], 8, 4, rng, "k")


def test_a_window_starts_where_the_subject_is_in_sight() -> None:
    rng = np.random.default_rng(0)
    seen = np.zeros(10, bool)
    seen[[1, 9]] = True
    assert {int(window(seen, 4, 2, rng, "k")[0]) for _ in range(20)} == {1}
    with pytest.raises(ValueError, match="clip k: its subject is outside the middle square"):
        window(np.zeros(10, bool), 4, 2, rng, "k")


def test_a_folder_without_a_list_of_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no shards\.json"):
        samples(tmp_path)


def test_the_loader_needs_no_ray() -> None:
    import subprocess

    code = "import sys, magdiff_model.train, magdiff_model.edit; print({'ray', 'cv2', 'spacy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
