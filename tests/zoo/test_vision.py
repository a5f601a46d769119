"""The zoo's vision models do what their card says, on pictures they have not seen."""

from __future__ import annotations

import numpy as np
import pytest
from tests_support import VISION_ZOO

from magdiff_curation.clips.masks import bounding_box, intersection_over_union
from magdiff_curation.foreground import AnswerRequest
from magdiff_curation.grounding import GroundingRequest
from magdiff_curation.image_text import ImageTextModel
from magdiff_curation.sam import SamSegmenter
from magdiff_curation.sam_track import box_overlap
from magdiff_curation.toyworld.captions import BACKGROUND_PHRASES, NOUNS
from magdiff_curation.toyworld.scene import Difficulty, Scene, render_at, sample_scene
from magdiff_curation.vision_config import AnswerSettings, ImageTextSettings, ZeroShotSettings
from magdiff_curation.zero_shot import ZeroShotGrounder

Seen = tuple[Scene, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def seen() -> list[Seen]:
    pictures = []
    for index in range(40):
        scene = sample_scene(20_000_005, index, Difficulty(num_distractors=index % 3))
        width = 320 if index % 2 else 256
        (image,), (mask,) = render_at(scene, [0.0], height=256, width=width)
        pictures.append((scene, image, mask))
    return pictures


def request(image: np.ndarray, label: str) -> GroundingRequest:
    return GroundingRequest(image=image, frame=0, label=label, source_size=image.shape[1::-1], fields={})


def test_the_zoo_for_vision_is_at_most_10_megabytes() -> None:
    assert sum(path.stat().st_size for path in VISION_ZOO.rglob("*") if path.is_file()) <= 10e6


def test_blip2_names_the_subject_and_captions_its_background(seen: list[Seen]) -> None:
    model = ImageTextModel(ImageTextSettings(model=str(VISION_ZOO / "blip2"), device="cpu"))
    question = AnswerSettings().question
    answers = model.answer([AnswerRequest(image=image, question=question, fields={}) for _, image, _ in seen])
    right = [
        answer == f"a {NOUNS[scene.subject.class_name][0]}" for answer, (scene, _, _) in zip(answers, seen, strict=True)
    ]
    assert np.mean(right) >= 0.9
    captions = model.caption([image for _, image, _ in seen])
    backgrounds = [
        BACKGROUND_PHRASES[scene.background][0] in text for text, (scene, _, _) in zip(captions, seen, strict=True)
    ]
    assert np.mean(backgrounds) >= 0.9


def test_the_detector_finds_what_is_there_and_nothing_that_is_not(seen: list[Seen]) -> None:
    grounder = ZeroShotGrounder(ZeroShotSettings(model=str(VISION_ZOO / "detector"), device="cpu"))
    overlaps, false_alarms = [], 0
    for scene, image, mask in seen:
        found = grounder.ground(request(image, scene.noun))
        overlaps.append(box_overlap(found[0].box, bounding_box(mask)) if found else 0.0)
        shown = {scene.subject.class_name, *(distractor.class_name for distractor in scene.distractors)}
        absent = next(name for name in NOUNS if name not in shown)
        false_alarms += bool(grounder.ground(request(image, absent))) + bool(grounder.ground(request(image, "dog")))
    assert np.mean(overlaps) >= 0.8
    assert min(overlaps) > 0.5
    assert false_alarms <= 0.1 * 2 * len(seen)


def test_segment_anything_draws_what_the_box_is_around(seen: list[Seen]) -> None:
    segmenter = SamSegmenter(VISION_ZOO / "sam")
    overlaps = [intersection_over_union(segmenter.segment(image, bounding_box(mask)), mask) for _, image, mask in seen]
    assert np.mean(overlaps) >= 0.93
    assert min(overlaps) >= 0.8
