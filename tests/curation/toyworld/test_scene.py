from dataclasses import replace

import numpy as np
import pytest

from magdiff_curation.clips.masks import bounding_box
from magdiff_curation.toyworld.actions import ACTIONS
from magdiff_curation.toyworld.backgrounds import BACKGROUNDS
from magdiff_curation.toyworld.captions import ACTION_PHRASES, BACKGROUND_PHRASES, NOUNS
from magdiff_curation.toyworld.scene import Difficulty, render, render_parts, sample_scene, with_background
from magdiff_curation.toyworld.shapes import CLASSES


def centre(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(axis=0)


def test_the_world_is_as_rich_as_promised() -> None:
    assert min(len(CLASSES), len(ACTIONS), len(BACKGROUNDS)) >= 8
    assert (set(NOUNS), set(ACTION_PHRASES), set(BACKGROUND_PHRASES)) == (set(CLASSES), set(ACTIONS), set(BACKGROUNDS))


def test_a_scene_is_a_function_of_seed_and_index() -> None:
    assert sample_scene(3, 7) == sample_scene(3, 7)
    assert sample_scene(3, 7) != sample_scene(3, 8)
    first = render(sample_scene(3, 7), height=64, width=96, num_frames=8)
    again = render(sample_scene(3, 7), height=64, width=96, num_frames=8)
    assert all(np.array_equal(left, right) for left, right in zip(first, again, strict=True))


def test_masks_are_exact() -> None:
    # Only the subject differs between two appearances, so the pixels that differ are the mask (and its soft edge).
    scene = sample_scene(3, 9)
    other = replace(scene, subject=replace(scene.subject, appearance=sample_scene(3, 10).subject.appearance))
    other = replace(
        other,
        subject=replace(
            other.subject,
            appearance=replace(
                other.subject.appearance, aspect=scene.subject.appearance.aspect, part=scene.subject.appearance.part
            ),
        ),
    )
    frames, masks = render(scene, height=128, width=128, num_frames=4)
    differs = (frames != render(other, height=128, width=128, num_frames=4)[0]).any(axis=-1)
    assert (differs & ~masks).sum() < 0.1 * masks.sum()
    same = render(with_background(scene, "snow"), height=128, width=128, num_frames=4)[1]
    assert np.array_equal(masks, same)


@pytest.mark.parametrize(
    ("action", "axis", "sign"), [("right", 1, 1), ("left", 1, -1), ("rise", 0, -1), ("sink", 0, 1)]
)
def test_movements_go_where_their_caption_says(action: str, axis: int, sign: int) -> None:
    scene = replace(sample_scene(3, 1), action=action)
    masks = render(scene, height=64, width=64, num_frames=8)[1]
    assert sign * (centre(masks[-1]) - centre(masks[0]))[axis] > 8


def test_sizes_change_as_their_caption_says() -> None:
    for action, grows in (("grow", True), ("shrink", False)):
        masks = render(replace(sample_scene(3, 2), action=action), height=64, width=64, num_frames=8)[1]
        assert bool(masks[-1].sum() > 1.5 * masks[0].sum()) is grows


def test_every_subject_stays_in_sight_and_large() -> None:
    for index in range(100):
        masks = render(sample_scene(5, index), height=64, width=64, num_frames=8)[1]
        assert masks.mean(axis=(1, 2)).min() > 0.02
        assert 0.05 < masks.mean() < 0.6, index


def test_any_size_shows_the_same_scene() -> None:
    scene = sample_scene(3, 4)
    small = bounding_box(render(scene, height=64, width=64, num_frames=1)[1][0])
    large = bounding_box(render(scene, height=256, width=256, num_frames=1)[1][0])
    assert np.allclose(np.array(small) * 4, large, atol=6)


def test_captions_never_tell_the_looks() -> None:
    words = {"red", "green", "blue", "yellow", "striped", "stripes", "spotted", "spot", "tall", "wide"}
    for index in range(200):
        scene = sample_scene(6, index)
        assert not words & set(scene.caption.replace("red curtain", "curtain").split())
        assert scene.noun in scene.caption


def test_hard_options_change_the_picture_but_not_the_subjects_truth() -> None:
    plain, hard = sample_scene(3, 5), sample_scene(3, 5, Difficulty(num_distractors=2, noise=0.05, contrast=0.6))
    assert plain.subject == hard.subject
    left, right = (render(scene, height=64, width=64, num_frames=2) for scene in (plain, hard))
    assert np.array_equal(left[1], right[1])
    assert np.abs(left[0].astype(int) - right[0]).mean() > 3


def test_parts_cover_the_subject() -> None:
    scene = sample_scene(3, 6)
    parts = render_parts(scene, height=64, width=64, num_frames=2)
    masks = render(scene, height=64, width=64, num_frames=2)[1]
    assert (parts.sum(axis=-1)[~masks] <= 140).all()
    assert (parts.max(axis=-1)[masks] > 100).mean() > 0.8


def test_frames_too_small_to_draw_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 frame of 16x16"):
        render(sample_scene(0, 0), height=8, width=64, num_frames=8)
