"""Subjects found by name and by box; what is said where they are not."""

from pathlib import Path

import numpy as np
import pytest

from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_model.subject_finding import SubjectFinder

pytestmark = pytest.mark.usefixtures("loaded_once")


def test_one_finder_finds_by_name_in_pictures_and_videos(zoo_vision, truth) -> None:
    finder, (frames, masks) = SubjectFinder(zoo_vision), truth
    for count in (1, 4):
        found, models = finder.find(frames[:count], (160, 128), label="kite")
        assert (found & masks[:count]).sum() / (found | masks[:count]).sum() > 0.9
        assert set(models) == {"ground", "segment", "track"}


def test_a_box_is_in_the_sources_pixels_and_any_segmenter_can_draw_it(zoo_vision, truth) -> None:
    frames, masks = truth
    found, models = SubjectFinder(zoo_vision).find(frames[:1], (320, 256), box=(100, 74, 222, 254))
    assert (found & masks[:1]).sum() / (found | masks[:1]).sum() > 0.9
    assert models["ground"] == "manifest:box"
    assert models["segment"].startswith("segment-anything")


def test_names_need_curations_full_preset_and_boxes_no_weights_unless_told_otherwise() -> None:
    by_name = SubjectFinder().settings(by_box=False, one_picture=False)
    assert (by_name.zero_shot.model, by_name.tracker) == ("IDEA-Research/grounding-dino-tiny", "sam2")
    by_box = SubjectFinder().settings(by_box=True, one_picture=False)
    assert (by_box.grounder, by_box.segmenter, by_box.tracker) == ("manifest", "grabcut", "optical_flow")
    assert SubjectFinder("toyworld").settings(by_box=True, one_picture=False).segmenter == "sam"


def test_a_picture_needs_no_trackers_weights() -> None:
    assert SubjectFinder().settings(by_box=False, one_picture=True).tracker == "optical_flow"


def test_sam_3_is_told_names_only(tmp_path: Path) -> None:
    (tmp_path / "sam3.yaml").write_text("mask: {backend: sam3}")
    finder = SubjectFinder(str(tmp_path / "sam3.yaml"))
    assert finder.settings(by_box=False, one_picture=False).backend == "sam3"
    with pytest.raises(ValueError, match="SAM 3 takes names, no boxes; give --subject instead"):
        finder.settings(by_box=True, one_picture=False)


def test_the_digest_follows_the_settings_and_weights_that_shape_masks(zoo_vision, tmp_path: Path) -> None:
    before = SubjectFinder(zoo_vision).digest(by_box=False, one_picture=False)
    other = tmp_path / "other.yaml"
    other.write_text(Path(zoo_vision).read_text() + "motion: {min_motion: 0.1}\n")
    assert SubjectFinder(str(other)).digest(by_box=False, one_picture=False) == before
    other.write_text(Path(zoo_vision).read_text().replace("0.4", "0.3"))
    assert SubjectFinder(str(other)).digest(by_box=False, one_picture=False) != before


def test_the_digest_is_the_same_on_every_device(zoo_vision, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(Path(zoo_vision).read_text().replace("device: cpu", "device: cuda"))
    on_cpu, on_gpu = (SubjectFinder(str(path)).digest(by_box=False, one_picture=False) for path in (zoo_vision, other))
    assert on_cpu == on_gpu
    assert SubjectFinder(str(other)).settings(by_box=False, one_picture=False).sam.device == "cuda"


def test_a_settings_file_that_changes_while_a_batch_runs_counts_in_the_next(zoo_vision, tmp_path: Path) -> None:
    path = tmp_path / "vision.yaml"
    path.write_text(Path(zoo_vision).read_text())
    finder = SubjectFinder(str(path))
    before = finder.digest(by_box=False, one_picture=False)
    path.write_text(Path(zoo_vision).read_text().replace("0.4", "0.3"))
    assert finder.settings(by_box=False, one_picture=False).zero_shot.threshold == 0.4
    assert finder.digest(by_box=False, one_picture=False) == before
    assert SubjectFinder(str(path)).digest(by_box=False, one_picture=False) != before


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.SUBJECT_NOT_FOUND, "it went wrong: try another word for it"),
        (Reason.SEVERAL_SUBJECTS, "it went wrong: say where it is by --box, or give a mask"),
        (Reason.SUBJECT_ENTERS_LATE, "it went wrong: cut the video to where it is in sight"),
        (Reason.SUBJECT_LOST, "it went wrong: take fewer frames"),
        (Reason.INTERNAL_ERROR, "it went wrong: say where it is"),
    ],
)
def test_each_reason_comes_with_what_to_try(monkeypatch, zoo_vision, truth, reason, words) -> None:
    class Masker:
        def follow(self, *_):
            raise ClipRejected(reason, "it went wrong")

    monkeypatch.setattr("magdiff_curation.backends.new_masker", lambda _: Masker())
    with pytest.raises(ValueError, match=words):
        SubjectFinder(zoo_vision).find(truth[0][:2], (160, 128), label="kite")


def test_a_box_around_nothing_is_told(truth, monkeypatch) -> None:
    grey = np.full_like(truth[0][:1], 128)
    monkeypatch.setattr("magdiff_curation.segment.GrabCutSegmenter.segment", lambda *_: np.zeros(grey.shape[1:3], bool))
    with pytest.raises(ValueError, match=r"nothing stands out inside box .*: try a tighter one, or give a mask"):
        SubjectFinder().find(grey, (160, 128), box=(10, 10, 60, 60))
