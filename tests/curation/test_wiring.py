"""Every backend in the whole pipeline: with tiny random weights, so that what is shown is that the parts fit."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import yaml
from in_process import curate_here, packed_clips
from products import products
from tiny_models import (
    save_blip2,
    save_deaot,
    save_grounding_dino,
    save_owlv2,
    save_sam2,
    save_sam3,
    save_tiny_sam,
)

from magdiff_curation.backends import Sam3SubjectMasker, new_masker
from magdiff_curation.clips.masks import Mask
from magdiff_curation.config import load_settings
from magdiff_curation.grounding import GroundingRequest
from magdiff_curation.pipeline import check_installed
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.sam3 import LabelUnreadable, Sam3Result
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset
from magdiff_curation.vision_config import MaskSettings, SamTrackSettings

NUM_CLIPS, NUM_FRAMES = 3, 12
OPEN = {
    "filters": {
        "min_short_side_px": 96,
        "min_area_ratio": 0.0,
        "max_area_ratio": 1.0,
        "training_view": {"crop": "none"},
    },
    "motion": {"min_motion": 0.0},
    "mask": {"sam_track": {"min_agreement": 0.0}},
}
"""Rules that drop nothing because of what a random model says."""
LIKELY = {
    Reason.KEPT,
    Reason.SUBJECT_NOT_FOUND,
    Reason.SUBJECT_LOST,
    Reason.SUBJECT_ENTERS_LATE,
    Reason.LABEL_MISSING,
    Reason.LABEL_WITHOUT_MEANING,
}
"""What may become of a clip whose models are random."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = DatasetSettings(num_clips=NUM_CLIPS, seed=31, width=128, height=96, num_frames=NUM_FRAMES)
    return write_dataset(tmp_path_factory.mktemp("world"), settings)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a model's name to its checkpoint, made when it is first asked for."""
    root = tmp_path_factory.mktemp("models")
    low = {"score_threshold_detection": 0.1, "new_det_thresh": 0.1, "hotstart_delay": 0, "hotstart_unmatch_thresh": 0}
    makers: dict[str, Callable[[Path], Path]] = {
        "blip2-opt": lambda path: save_blip2(path, "opt"),
        "blip2-t5": lambda path: save_blip2(path, "t5"),
        "grounding-dino": save_grounding_dino,
        "owlv2": save_owlv2,
        "sam": save_tiny_sam,
        "sam2": save_sam2,
        "edgetam": lambda path: save_sam2(path, "edgetam_video"),
        "sam3": lambda path: save_sam3(path, hotstart_dup_thresh=0, **low),
        "deaot.pth": save_deaot,
    }
    made: dict[str, Path] = {}

    def model(name: str) -> Path:
        if name not in made:
            made[name] = makers[name](root / name)
        return made[name]

    return model


def run(world: Path, folder: Path, preset: str | None = None, **settings: Any) -> dict[str, dict[str, Any]]:
    """Curate with some settings on top of the open rules, check what holds whatever the models say, return the rows."""
    written = {**OPEN, **settings, "source": str(world), "output": str(folder / "out")}
    written["mask"] = {**OPEN["mask"], **settings.get("mask", {})}
    (folder / "settings.yaml").write_text(yaml.safe_dump(written))
    chosen = load_settings(folder / "settings.yaml", preset)
    rows = curate_here(chosen)
    assert len(rows) == NUM_CLIPS
    assert {row["reason"] for row in rows.values()} <= LIKELY, [row["detail"] for row in rows.values()]
    clips = packed_clips(chosen.output)
    assert set(clips) == {name for name, row in rows.items() if row["status"] == "kept"}
    for name, clip in clips.items():
        assert clip.masks.shape == (NUM_FRAMES, 96, 128)
        assert clip.masks.any(axis=(1, 2)).all()
        assert clip.record.num_frames == NUM_FRAMES
        assert clip.record.provenance["models"] == rows[name]["models"]
    before = products(chosen.output)
    assert curate_here(chosen) == rows
    assert products(chosen.output) == before
    return rows


def names(rows: dict[str, dict[str, Any]], what: str) -> set[str]:
    return {row["models"][what] for row in rows.values() if what in row["models"]}


def statuses(rows: dict[str, dict[str, Any]]) -> list[str]:
    return [row["status"] for row in rows.values()]


@pytest.mark.parametrize("name", ["blip2-opt", "blip2-t5"])
def test_blip2_answers(world: Path, models, tmp_path: Path, name: str) -> None:
    model = {"model": str(models(name)), "device": "cpu", "max_new_tokens": 6, "batch_size": 2}
    rows = run(world, tmp_path, answer={"backend": "image_text", "image_text": model})
    (answered,) = names(rows, "answer")
    assert answered.startswith(f"{name}@")
    # What it says is hardly ever a subject, so that the captions' nouns decide.
    assert statuses(rows) == ["kept"] * NUM_CLIPS
    by_noun = [row for row in rows.values() if row["label_source"] == "noun"]
    assert by_noun
    assert all(row["label"] in row["caption"] for row in by_noun)


def test_blip2_captions_what_has_no_caption(world: Path, models, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in world.read_text().splitlines()]
    captionless = world.with_name("captionless.jsonl")
    captionless.write_text("".join(json.dumps(line | {"caption": ""}) + "\n" for line in lines))
    model = {"model": str(models("blip2-t5")), "device": "cpu", "max_new_tokens": 6}
    answer = {"backend": "image_text", "image_text": model, "missing_caption": "make"}
    rows = run(captionless, tmp_path, answer=answer)
    assert names(rows, "caption") == names(rows, "answer")
    assert all(row["made_caption"] for row in rows.values())
    assert {row["stage"] for row in rows.values()} <= {"label", "commit"}


@pytest.mark.parametrize("name", ["grounding-dino", "owlv2"])
def test_a_zero_shot_detector_finds(world: Path, models, tmp_path: Path, name: str) -> None:
    detector = {"model": str(models(name)), "device": "cpu", "threshold": 0.01}
    rows = run(world, tmp_path, mask={"grounder": "zero_shot", "zero_shot": detector})
    (ground,) = names(rows, "ground")
    assert ground.startswith(f"{name}@")
    assert {row["stage"] for row in rows.values()} <= {"mask", "commit"}
    assert all(0 < row["scores"]["grounding"] <= 1 for row in rows.values() if row["status"] == "kept")


def test_the_manifests_box_goes_before_the_detectors(world: Path, models, tmp_path: Path) -> None:
    detector = {"model": str(models("owlv2")), "device": "cpu", "threshold": 0.01}
    rows = run(world, tmp_path, mask={"grounder": "manifest_or_zero_shot", "zero_shot": detector})
    (ground,) = names(rows, "ground")
    assert ground.startswith("manifest:box, else owlv2@")
    assert statuses(rows) == ["kept"] * NUM_CLIPS
    assert {row["scores"]["grounding"] for row in rows.values()} == {1.0}


def test_segment_anything_segments(world: Path, models, tmp_path: Path) -> None:
    rows = run(world, tmp_path, mask={"segmenter": "sam", "sam": {"weights": str(models("sam")), "device": "cpu"}})
    (segmenter,) = names(rows, "segment")
    assert segmenter.startswith("segment-anything sam@")
    assert all(row["scores"]["area_ratio_first"] > 0 for row in rows.values() if row["status"] == "kept")


@pytest.mark.parametrize("name", ["sam2", "edgetam"])
def test_sam2_tracks(world: Path, models, tmp_path: Path, name: str) -> None:
    rows = run(world, tmp_path, mask={"tracker": "sam2", "sam2": {"model": str(models(name)), "device": "cpu"}})
    (tracker,) = names(rows, "track")
    assert tracker.startswith(f"{name}@")


def test_deaot_tracks(world: Path, models, tmp_path: Path) -> None:
    pytest.importorskip("aot", reason="deaotpy is not installed: pip install --no-deps deaotpy==1.11.0")
    deaot = {"model": "deaott", "weights": str(models("deaot.pth")), "device": "cpu"}
    rows = run(world, tmp_path, mask={"tracker": "deaot", "deaot": deaot})
    (tracker,) = names(rows, "track")
    assert tracker.startswith("deaott deaot.pth@")


def test_reprompting_tracks_with_any_segmenter(world: Path, models, tmp_path: Path) -> None:
    (tmp_path / "grabcut").mkdir()
    rows = run(world, tmp_path / "grabcut", mask={"tracker": "reprompt"})
    assert statuses(rows) == ["kept"] * NUM_CLIPS
    (tracker,) = names(rows, "track")
    assert "with GrabCut" in tracker
    (tmp_path / "sam").mkdir()
    sam = {"weights": str(models("sam")), "device": "cpu"}
    rows = run(world, tmp_path / "sam", mask={"segmenter": "sam", "sam": sam, "tracker": "reprompt"})
    (tracker,) = names(rows, "track")
    assert "with segment-anything sam@" in tracker


def test_sam3_does_all_of_it(world: Path, models, tmp_path: Path) -> None:
    rows = run(world, tmp_path, mask={"backend": "sam3", "sam3": {"model": str(models("sam3")), "device": "cpu"}})
    (masker,) = names(rows, "mask")
    assert masker.startswith("sam3@")
    assert names(rows, "ground") == names(rows, "track") == set()
    assert statuses(rows) == ["kept"] * NUM_CLIPS
    assert all(0.1 < row["scores"]["grounding"] < 1 for row in rows.values())


def test_the_toyworld_preset_runs_with_the_weights_it_is_given(world: Path, models, tmp_path: Path) -> None:
    rows = run(
        world,
        tmp_path,
        "toyworld",
        answer={"image_text": {"model": str(models("blip2-opt")), "max_new_tokens": 6}},
        mask={"zero_shot": {"model": str(models("owlv2")), "threshold": 0.01}, "sam": {"weights": str(models("sam"))}},
    )
    assert {what: len(names(rows, what)) for what in ("answer", "label", "ground", "segment", "track")} == {
        "answer": 1, "label": 1, "ground": 1, "segment": 1, "track": 1,
    }  # fmt: skip


def test_the_full_preset_runs_with_other_weights(world: Path, models, tmp_path: Path) -> None:
    rows = run(
        world,
        tmp_path,
        "full",
        answer={"image_text": {"model": str(models("blip2-opt")), "device": "cpu", "max_new_tokens": 6}},
        mask={
            "zero_shot": {"model": str(models("grounding-dino")), "device": "cpu", "threshold": 0.01},
            "sam": {"weights": str(models("sam")), "device": "cpu"},
            "sam2": {"model": str(models("sam2")), "device": "cpu"},
        },
    )
    assert [next(iter(names(rows, what))).split("@")[0] for what in ("answer", "ground", "segment", "track")] == [
        "blip2-opt", "grounding-dino", "segment-anything sam", "sam2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grounder": "zero_shot", "zero_shot": {"model": "/no/where"}}, "model '/no/where' cannot be loaded"),
        ({"segmenter": "sam"}, "Segment Anything's weights are not at models/sam_vit_b_01ec64.pth"),
        ({"tracker": "sam2", "sam2": {"model": "/no/where"}}, "model '/no/where' cannot be loaded"),
        ({"backend": "sam3", "sam3": {"model": "/no/where"}}, "model '/no/where' cannot be loaded"),
    ],
)
def test_a_model_that_is_not_there_stops_the_run_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"mask": settings}))
    with pytest.raises(ValueError, match=message):
        new_masker(load_settings(tmp_path / "settings.yaml").mask)


@dataclass
class ScriptedSam3:
    """Finds what it is told to, as masks of 4 frames of 8 x 8 pixels."""

    result: Sam3Result | LabelUnreadable
    name: str = "scripted"

    def follow(self, _frames: np.ndarray, _label: str) -> Sam3Result:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def objects(*rows: tuple[int, float, list[int]]) -> Sam3Result:
    """Return objects that fill one row of the picture each, with a score, in some frames."""
    masks = {row: np.zeros((4, 8, 8), np.bool_) for row, _, _ in rows}
    for row, _, frames in rows:
        masks[row][frames, row] = True
    return Sam3Result(masks=masks, scores={row: score for row, score, _ in rows})


def follow_with_sam3(result: Sam3Result | LabelUnreadable, instances: str = "best", firsts: list[Mask] | None = None):
    settings = MaskSettings(backend="sam3", sam_track=SamTrackSettings(instances=instances))
    with mock.patch("magdiff_curation.sam3.Sam3Masker", return_value=ScriptedSam3(result)):
        masker = Sam3SubjectMasker(settings)
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    request = GroundingRequest(image=frames[0], frame=0, label="dog", source_size=(8, 8), fields={})
    return masker.follow(frames, request, ([] if firsts is None else firsts).append)


ALWAYS = [0, 1, 2, 3]


def test_of_several_objects_sam3_is_surest_of_one_or_all_count() -> None:
    found = objects((1, 0.6, ALWAYS), (5, 0.9, ALWAYS))
    firsts: list[Mask] = []
    best = follow_with_sam3(found, "best", firsts)
    assert best.score == 0.9
    assert np.array_equal(best.masks, found.masks[5])
    assert np.array_equal(firsts[0], found.masks[5][0])
    together = follow_with_sam3(found, "all")
    assert np.array_equal(together.masks, found.masks[1] | found.masks[5])
    with pytest.raises(ClipRejected, match="2 of 'dog'; wanted is one") as several:
        follow_with_sam3(found, "only")
    assert several.value.reason == Reason.SEVERAL_SUBJECTS


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (Sam3Result(masks={}, scores={}), Reason.SUBJECT_NOT_FOUND),
        (objects((1, 0.9, [2, 3])), Reason.SUBJECT_ENTERS_LATE),
        (objects((1, 0.9, [0, 1])), Reason.SUBJECT_LOST),
        (LabelUnreadable("SAM 3 needs a label of 1 to 32 tokens"), Reason.SUBJECT_NOT_FOUND),
    ],
)
def test_what_sam3_does_not_see_throughout_has_its_reason(result: Any, reason: Reason) -> None:
    firsts: list[Mask] = []
    with pytest.raises(ClipRejected) as rejected:
        follow_with_sam3(result, firsts=firsts)
    assert rejected.value.reason == reason
    assert firsts == []  # an empty first mask would be taken for one that is too small


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", None),
        ("mask: {segmenter: sam}", "segment_anything is not installed: pip install 'magdiff-curation"),
        ("mask: {tracker: deaot}", "aot is not installed: pip install --no-deps deaotpy"),
        ("mask: {backend: sam3, segmenter: sam, tracker: deaot}", None),
        ("answer: {backend: image_text, image_text: {quantization: int8}}", "bitsandbytes is not installed"),
        ("split: {detector: content}", "scenedetect is not installed"),
        ("duplicates: {method: phash}", "imagehash is not installed"),
    ],
)
def test_a_package_that_only_some_settings_need_is_missed_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str | None
) -> None:
    optional = {"segment_anything", "aot", "bitsandbytes", "scenedetect", "imagehash"}
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in optional else find_spec(name))
    (tmp_path / "settings.yaml").write_text(text)
    settings = load_settings(tmp_path / "settings.yaml")
    with pytest.raises(ValueError, match=message) if message else nullcontext():
        check_installed(settings)


def test_without_models_nothing_is_loaded() -> None:
    code = (
        "import sys\n"
        "from magdiff_curation.config import CurationSettings\n"
        "from magdiff_curation.stages import AnswerStage, MaskStage\n"
        "stages = AnswerStage(CurationSettings()), MaskStage(CurationSettings())\n"
        "print(sorted({'torch', 'transformers', 'segment_anything', 'aot'} & set(sys.modules)))\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout == "[]\n"
