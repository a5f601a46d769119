from pathlib import Path

import numpy as np
import pytest

from magdiff_curation.clips.masks import Frames
from magdiff_curation.toyworld.captions import BACKGROUND_PHRASES
from magdiff_curation.toyworld.scene import render, sample_scene, with_background
from magdiff_eval.harness.toyworld import Toyworld
from magdiff_eval.layouts.item import Item
from magdiff_eval.scoring.items import ScoredItem
from magdiff_model.media import read_image, read_mask

SEED = 30_000_002


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toyworld, dict[str, Item]]:
    world = Toyworld(tmp_path_factory.mktemp("world"), 4, SEED, ("edit", "generate"), 8)
    return world, {item.name: item for item in world.listing().items}


def scores(world: Toyworld, video: Frames, name: str) -> dict[str, float]:
    metric = world.metric()
    assert metric.scores is not None
    return metric.scores(metric.extractor.prepare(video).numpy(), ScoredItem(name=name))


def truth(prompt: str, index: int) -> Frames:
    """The perfect answer to an item's prompt: the scene itself, before the background that the prompt names."""
    scene = sample_scene(SEED, index)
    name = next(name for name, phrases in BACKGROUND_PHRASES.items() if prompt.endswith(phrases[0]))
    assert name != scene.background
    return render(with_background(scene, name), height=64, width=64, num_frames=8)[0]


def test_the_true_answer_scores_full_marks_in_both_tasks(world: tuple[Toyworld, dict[str, Item]]) -> None:
    for index in range(4):
        for task in ("edit", "generate"):
            name = f"{task}-{index:05d}"
            found = scores(world[0], truth(world[1][name].prompt, index), name)
            assert (found["class"], found["action"], found["background"], found["nearer-to-own"]) == (1, 1, 1, 1)
            assert found["colour-distance"] < 0.1


def test_the_source_itself_fails_the_background(world: tuple[Toyworld, dict[str, Item]]) -> None:
    source = render(sample_scene(SEED, 1), height=64, width=64, num_frames=8)[0]
    found = scores(world[0], source, "edit-00001")
    assert (found["background"], found["action"]) == (0, 1)


def test_the_colours_of_another_subject_are_further_away(world: tuple[Toyworld, dict[str, Item]]) -> None:
    videos = [truth(world[1][f"edit-{index:05d}"].prompt, index) for index in range(4)]
    distances = [scores(world[0], video, "edit-00000")["colour-distance"] for video in videos]
    assert min(distances[1:]) > 2 * distances[0]


def test_items_show_the_clip_and_its_mask_and_the_reference_is_the_true_answer(
    world: tuple[Toyworld, dict[str, Item]],
) -> None:
    edit, generate = world[1]["edit-00002"], world[1]["generate-00002"]
    frames, masks = render(sample_scene(SEED, 2), height=128, width=128, num_frames=8)
    assert np.array_equal(read_image(edit.source / "00005.png"), frames[5])
    assert edit.masks is not None
    assert np.array_equal(read_mask(edit.masks / "00005.png"), masks[5])
    assert np.array_equal(read_image(generate.source), frames[0])
    small = truth(edit.prompt, 2)
    whole = read_image(world[0].reference / "00002" / "00003.png")
    assert np.abs(whole[::2, ::2].astype(float) - small[3]).mean() < 12


def test_a_world_is_drawn_once_and_its_listing_is_always_the_same(tmp_path: Path) -> None:
    def listing() -> object:
        return Toyworld(tmp_path, 2, SEED, ("edit",), 8).listing()

    first = listing()
    drawn = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert listing() == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == drawn
    assert Toyworld(tmp_path / "other", 2, SEED + 1, ("edit",), 8).listing().stamp != first.stamp  # type: ignore[attr-defined]


def test_a_world_of_no_clips_or_other_tasks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need one or more of each, edit or generate"):
        Toyworld(tmp_path, 2, SEED, ("paint",), 8)
