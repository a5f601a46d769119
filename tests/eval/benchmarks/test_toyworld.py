import dataclasses

import pytest
from tests_support import ZOO

from magdiff_curation.toyworld.captions import BACKGROUND_PHRASES
from magdiff_curation.toyworld.scene import render, sample_scene, with_background
from magdiff_eval.benchmarks.toyworld import Toyworld
from magdiff_model.checkpoints import load_pipeline

SEED = 30_000_002


@pytest.fixture(scope="module")
def items():
    world = Toyworld(load_pipeline(ZOO), 4, SEED, ("edit", "generate"))
    return {item.name: item for item in world.items()}


def truth_before(prompt: str, index: int):
    """The perfect answer to an item's prompt: the scene itself, before the background that the prompt names."""
    scene = sample_scene(SEED, index)
    name = next(name for name, phrases in BACKGROUND_PHRASES.items() if prompt.endswith(phrases[0]))
    assert name != scene.background
    return render(with_background(scene, name), height=64, width=64, num_frames=8)[0]


def test_the_true_answer_scores_full_marks_in_both_tasks(items) -> None:
    for index in range(4):
        for task in ("edit", "generate"):
            item = items[f"{task}-{index:05d}"]
            row = item.score(truth_before(item.prompt, index))
            assert row["background"]
            assert row["action"]
            assert row["class"]
        assert row["nearer_to_own"]
        assert row["colour_distance"] < 0.1


def test_the_error_inside_the_subject_is_small_for_the_truth_and_large_for_another_subject(items) -> None:
    item = items["edit-00000"]
    row = item.score(truth_before(item.prompt, 0))
    assert row["subject_error"] < 0.02
    assert row["subject_error"] < row["mean_colour_error"]
    assert row["round_trip_error"] < 0.03
    scene = sample_scene(SEED, 0)
    looks = scene.subject.appearance
    swapped = dataclasses.replace(looks, base=looks.second, second=looks.base)
    other = dataclasses.replace(scene, subject=dataclasses.replace(scene.subject, appearance=swapped))
    wrong = render(other, height=64, width=64, num_frames=8)[0]
    assert item.score(wrong)["subject_error"] > 5 * row["subject_error"]


def test_the_source_itself_fails_the_background(items) -> None:
    item = items["edit-00001"]
    source = render(sample_scene(SEED, 1), height=64, width=64, num_frames=8)[0]
    row = item.score(source)
    assert not row["background"]
    assert row["action"]
