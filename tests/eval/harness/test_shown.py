from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magdiff_curation.clips.masks import Frames
from magdiff_eval.harness.folder import write_pictures
from magdiff_eval.harness.shown import show
from magdiff_eval.layouts.item import Item

FRAMES = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3)).astype(np.uint8)


def item(folder: Path, masks: np.ndarray | None = None, **more: Any) -> Item:
    write_pictures(folder / "frames", FRAMES)
    if masks is not None:
        write_pictures(folder / "masks", np.where(masks, np.uint8(255), np.uint8(0))[..., None].repeat(3, axis=3))
    given: dict[str, Any] = {"name": "a", "group": "g", "task": "edit", "prompt": "p", "clip_prompt": "p", "seed": 0}
    given |= {"source": folder / "frames", "label": "dog", "masks": folder / "masks" if masks is not None else None}
    return Item(**given | more)


def left_half() -> np.ndarray:
    masks = np.zeros(FRAMES.shape[:3], bool)
    masks[:, :, :4] = True
    return masks


def never(_: Item, __: Frames) -> Any:
    raise AssertionError("nothing is looked for")


def test_an_edit_shows_frames_spread_over_its_source_and_the_side_that_it_keeps(tmp_path: Path) -> None:
    subject = show(item(tmp_path, left_half()), 4, never)
    assert np.array_equal(subject.frames, FRAMES[[0, 3, 6, 9]])
    assert np.array_equal(subject.masks, left_half()[:4])  # type: ignore[arg-type]
    around = show(item(tmp_path, left_half(), kept="surroundings"), 4, never)
    assert np.array_equal(around.masks, ~left_half()[:4])  # type: ignore[arg-type]


def test_generation_shows_one_picture(tmp_path: Path) -> None:
    shown = show(item(tmp_path, left_half(), task="generate", source=tmp_path / "frames" / "00000.png"), 4, never)
    assert np.array_equal(shown.frames, FRAMES[:1])
    assert shown.masks is not None
    assert shown.masks.shape == (1, 8, 8)


def test_a_subject_that_is_not_found_makes_the_mask_null_with_its_reason(tmp_path: Path) -> None:
    shown = show(item(tmp_path), 4, lambda *_: (None, "no dog"))
    assert (shown.masks, shown.null_reason) == (None, "no dog")
    empty = show(item(tmp_path, np.zeros_like(left_half())), 4, never)
    assert (empty.masks, empty.null_reason) == (None, "the mask is empty")
    whole = show(item(tmp_path, left_half()), 4, None)
    assert (whole.masks, whole.null_reason) == (None, "this method takes whole frames")


def test_an_edit_without_surroundings_to_keep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the subject fills every frame"):
        show(item(tmp_path, np.ones_like(left_half()), kept="surroundings"), 4, never)
