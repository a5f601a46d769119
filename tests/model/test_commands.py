"""generate and edit as people call them, on the zoo's base."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from tests_support import ZOO

from magdiff_curation.clips.masks import encode_rle
from magdiff_curation.clips.video import decode, encode
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_model.edit import Edit, edit, spread
from magdiff_model.generate import Generate, SamplingSettings, generate

QUICK = SamplingSettings(steps=1, guidance_scale=1.0, precision="fp32")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    frames, masks = render(sample_scene(3, 1), height=128, width=160, num_frames=16)
    (tmp_path / "video.mp4").write_bytes(encode(frames, 8))
    (tmp_path / "short.mp4").write_bytes(encode(frames[:5], 8))
    (tmp_path / "video.masks.json").write_text(json.dumps([encode_rle(mask) for mask in masks]))
    (tmp_path / "masks").mkdir()
    for index, mask in enumerate(masks):
        PillowImage.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "masks" / f"{index:03d}.png")
    PillowImage.fromarray(frames[0]).save(tmp_path / "image.png")
    PillowImage.fromarray(np.zeros((128, 160), np.uint8)).save(tmp_path / "empty.png")
    (tmp_path / "text.txt").write_text("not media")
    rows, columns = np.flatnonzero(masks[0].any(axis=1)), np.flatnonzero(masks[0].any(axis=0))
    (tmp_path / "box.json").write_text(json.dumps([int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])]))
    return tmp_path


def make(files: Path, **changes: object) -> np.ndarray:
    arguments = {"image": files / "image.png", "output": files / "out.mp4"} | changes
    generate(Generate(checkpoint=str(ZOO), prompt="a fish at sea", sampling=QUICK, **arguments))
    return decode((files / "out.mp4").read_bytes())


def change(files: Path, **changes: object) -> np.ndarray:
    arguments = {"video": files / "video.mp4", "output": files / "out.mp4", "frame_stride": 2} | changes
    edit(Edit(checkpoint=str(ZOO), prompt="a fish at sea", sampling=QUICK, **arguments))
    return decode((files / "out.mp4").read_bytes())


def test_generate_writes_eight_frames_for_a_mask_a_box_and_a_whole_picture(files: Path) -> None:
    box = tuple(json.loads((files / "box.json").read_text()))
    for way in ({"mask": files / "masks" / "000.png"}, {"box": box}, {"whole": True}):
        assert make(files, **way).shape == (8, 64, 64, 3)


def test_edit_writes_eight_frames_for_masks_of_both_kinds_and_a_box(files: Path) -> None:
    box = tuple(json.loads((files / "box.json").read_text()))
    for way in ({"masks": files / "masks"}, {"masks": files / "video.masks.json"}, {"box": box}):
        assert change(files, **way).shape == (8, 64, 64, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "say where the subject is by one of --mask, --box, --whole; given: none"),
        ({"whole": True, "box": (1.0, 1.0, 5.0, 5.0)}, "given: box, whole"),
        ({"mask": "empty.png"}, "empty mask"),
        ({"mask": "text.txt"}, "not a picture"),
        ({"box": (500.0, 500.0, 600.0, 600.0)}, "lies outside the image"),
        ({"whole": True, "output": "out.avi"}, r"written as \.mp4"),
    ],
)
def test_generate_refuses_what_it_cannot_use_and_says_what_to_do(files: Path, changes, words) -> None:
    paths = {name: files / value if isinstance(value, str) else value for name, value in changes.items()}
    with pytest.raises(ValueError, match=words):
        make(files, **paths)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"video": "short.mp4", "whole": True}, "has 5 frames; the model edits 8"),
        ({"video": "text.txt", "whole": True}, "cannot read"),
        ({"masks": "text.txt"}, "neither a folder"),
        ({"video": "short.mp4", "masks": "masks", "whole": True}, "given: masks, whole"),
    ],
)
def test_edit_refuses_what_it_cannot_use_and_says_what_to_do(files: Path, changes, words) -> None:
    paths = {name: files / value if isinstance(value, str) else value for name, value in changes.items()}
    with pytest.raises(ValueError, match=words):
        change(files, **paths)


def test_a_box_is_in_the_videos_own_pixels_however_large_it_is(files: Path, monkeypatch) -> None:
    frames, _ = render(sample_scene(3, 1), height=768, width=960, num_frames=8)
    (files / "large.mp4").write_bytes(encode(frames, 30))
    boxes = []

    def remember(frames, box, on_frame):
        boxes.append((frames.shape[1:3], box))
        return np.ones(frames.shape[:3], bool)

    monkeypatch.setattr("magdiff_model.edit.masks_from_box", remember)
    change(files, video=files / "large.mp4", box=(96.0, 96.0, 480.0, 384.0))
    assert boxes == [((512, 640), (64.0, 64.0, 320.0, 256.0))]


def test_edited_frames_are_spread_from_the_first_on() -> None:
    assert spread(100, 8, 4).tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert spread(16, 8, 4).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
