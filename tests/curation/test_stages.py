"""The stages one by one: batches of answers, made captions, still clips, odd texts, and what becomes of errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import curate_here, label_stage, packed_clips, work
from tiny_models import save_blip2

from magdiff_curation import canonical, stages
from magdiff_curation.clips.masks import Frames, Image, Mask
from magdiff_curation.clips.video import decode, encode
from magdiff_curation.commit import Workspace
from magdiff_curation.config import ClipSettings, CurationSettings, FilterSettings, TrainingViewSettings
from magdiff_curation.foreground import AnswerRequest
from magdiff_curation.grounding import GroundingRequest
from magdiff_curation.motion import MotionSettings
from magdiff_curation.reasons import DROPPED_REASONS, ClipRejected, Reason
from magdiff_curation.sam_track import Followed
from magdiff_curation.sources import list_inputs
from magdiff_curation.stage_runs import run_stages
from magdiff_curation.stages import AnswerStage, MaskStage
from magdiff_curation.state import ClipState
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_curation.vision_config import AnswerSettings, ImageTextSettings

HEIGHT, WIDTH = 96, 128
MADE = AnswerSettings(backend="image_text", missing_caption="make")
SAID = "a dog runs through a meadow"


def toy_frames(index: int) -> Frames:
    return render(sample_scene(21, index), height=HEIGHT, width=WIDTH, num_frames=16)[0]


def write_source(folder: Path, clips: dict[str, Frames], **columns: object) -> Path:
    """Write clips of 8 frames a second with a manifest and return its path; columns that are functions get the name."""
    rows = []
    for name, frames in clips.items():
        (folder / name).write_bytes(encode(frames, 8))
        filled = {column: value(name) if callable(value) else value for column, value in columns.items()}
        rows.append({"video": name, "caption": SAID, "answer": "a dog", **filled})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "manifest.jsonl"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {f"{index}.mp4": toy_frames(index) for index in range(3)}
    return write_source(tmp_path_factory.mktemp("source"), names, answer=lambda name: f"a dog {name}")


def small(source: Path, output: Path, **settings: Any) -> CurationSettings:
    defaults = {"clip": ClipSettings(short_side_px=HEIGHT), "filters": FilterSettings(min_short_side_px=HEIGHT)}
    return CurationSettings(source=source, output=output, **(defaults | settings))


def normalized(settings: CurationSettings) -> list[ClipState]:
    return work(("normalize",), settings, list_inputs(settings))


def first_frame_means(settings: CurationSettings, states: Sequence[ClipState]) -> list[float]:
    videos = [Workspace(settings.output).video(state.row_id).read_bytes() for state in states]
    return [float(decode(video)[0].mean()) for video in videos]


class Model:
    """Answers with the picture's mean, and captions; fails where one of the pictures is bad."""

    name = "model@1"

    def __init__(self, caption: str = SAID, bad: Callable[[Image], bool] = lambda image: False) -> None:
        self.said, self.bad = caption, bad
        self.asked: list[int] = []

    def answer(self, requests: Sequence[AnswerRequest]) -> list[str | ClipRejected]:
        self.asked.append(len(requests))
        if any(self.bad(request.image) for request in requests):
            raise RuntimeError("out of memory")
        return [f"a dog {request.image.mean():.3f}" for request in requests]

    def caption(self, images: Sequence[Image]) -> list[str]:
        return [self.said for _ in images]


class FixedMasker:
    """Says that the subject is a square of 40 px whose left edge is told."""

    def __init__(self, left: int) -> None:
        self.left, self.calls = left, []
        self.models = {"mask": "fixed@1"}

    def follow(self, frames: Frames, request: GroundingRequest, check_first: Callable[[Mask], None]) -> Followed:
        masks = np.zeros(frames.shape[:3], np.bool_)
        masks[:, 30:70, self.left : self.left + 40] = True
        self.calls.append("first")
        check_first(masks[0])
        self.calls.append("rest")
        return Followed(masks=masks, score=0.75, agreement=0.5)


@pytest.fixture(scope="module")
def blip2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_blip2(tmp_path_factory.mktemp("models") / "blip2", "opt")


@pytest.mark.parametrize("backend", ["manifest", "image_text"])
def test_a_batch_gives_each_clip_the_answer_it_has_alone(
    source: Path, tmp_path: Path, blip2: Path, backend: str
) -> None:
    model = ImageTextSettings(model=str(blip2), device="cpu", batch_size=3, max_new_tokens=6)
    settings = small(source, tmp_path, answer=AnswerSettings(backend=backend, image_text=model))
    together, alone = normalized(settings), normalized(settings)
    stage = AnswerStage(settings)
    run_stages({"answer": stage}, together)
    for state in alone:
        run_stages({"answer": stage}, [state])
    assert [state.status for state in together] == [""] * 3
    assert [state.answer for state in together] == [state.answer for state in alone]
    if backend == "manifest":
        assert [state.answer for state in together] == ["a dog 0.mp4", "a dog 1.mp4", "a dog 2.mp4"]
    assert {state.models["answer"] for state in together} == {stage.answerer.name}
    assert all(0 < state.seconds["answer"] < 60 for state in (*together, *alone))


def test_several_clips_are_asked_about_together_and_only_the_open_ones(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model()
    monkeypatch.setattr(stages, "new_answerer", lambda _settings: model)
    settings = small(source, tmp_path)
    states = normalized(settings)
    states[1].status, states[1].reason = "dropped", "static_clip"
    stage = AnswerStage(settings)
    run_stages({"answer": stage}, states)
    assert model.asked == [2]
    means = first_frame_means(settings, states)
    assert [state.answer for state in states] == [f"a dog {means[0]:.3f}", "", f"a dog {means[2]:.3f}"]
    assert states[0].answer != states[2].answer
    run_stages({"answer": stage}, states[:1])
    assert model.asked == [2, 1]


def test_of_a_batch_that_fails_only_the_culprit_does(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small(source, tmp_path)
    states = normalized(settings)
    means = first_frame_means(settings, states)
    model = Model(bad=lambda image: image.mean() == means[1])
    monkeypatch.setattr(stages, "new_answerer", lambda _settings: model)
    run_stages({"answer": AnswerStage(settings)}, states)
    assert model.asked == [3, 1, 1, 1]
    assert [(state.status, state.reason) for state in states] == [("", ""), ("failed", "internal_error"), ("", "")]
    assert [state.answer for state in states] == [f"a dog {means[0]:.3f}", "", f"a dog {means[2]:.3f}"]
    assert states[1].detail.startswith("RuntimeError: out of memory (test_stages.py:")


def test_a_clip_whose_answer_is_missing_does_not_disturb_its_batch(tmp_path: Path) -> None:
    clips = {f"{index}.mp4": toy_frames(index) for index in range(2)}
    source = write_source(tmp_path, clips, answer=lambda name: "" if name == "0.mp4" else "a cat")
    settings = small(source, tmp_path / "out")
    states = normalized(settings)
    run_stages({"answer": AnswerStage(settings)}, states)
    assert [(state.reason, state.answer) for state in states] == [("answer_missing", ""), ("", "a cat")]


def test_captions_are_made_where_there_are_none_and_reach_the_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "new_answerer", lambda _settings: Model("a rabbit hops in the snow."))
    monkeypatch.setattr(stages, "new_masker", lambda _settings: FixedMasker(40))
    clips = {f"{index}.mp4": toy_frames(index) for index in range(2)}
    source = write_source(tmp_path, clips, caption=lambda name: "" if name == "0.mp4" else "a fish swims")
    (tmp_path / "model").mkdir()
    answer = replace(MADE, image_text=ImageTextSettings(model=str(tmp_path / "model")))
    rows = curate_here(small(source, tmp_path / "out", answer=answer))
    assert [row["status"] for row in rows.values()] == ["kept", "kept"]
    packed = packed_clips(tmp_path / "out")
    made, given = packed["0.mp4"], packed["1.mp4"]
    assert made.record.caption == "a rabbit hops in the snow."
    assert made.record.augmented_caption == f"a rabbit hops in the snow, {made.record.label}"
    assert made.record.label.startswith("dog")
    assert made.record.provenance["nouns"] == ["rabbit", "snow"]
    assert made.record.provenance["models"]["caption"] == "model@1"
    assert given.record.caption == "a fish swims"
    assert "caption" not in given.record.provenance["models"]
    assert [row["made_caption"] for row in rows.values()] == ["a rabbit hops in the snow.", ""]
    assert [row["caption"] for row in rows.values()] == ["", "a fish swims"]


def test_a_model_that_has_no_caption_leaves_the_clip_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "new_answerer", lambda _settings: Model(caption=""))
    source = write_source(tmp_path, {"0.mp4": toy_frames(0)}, caption="")
    settings = small(source, tmp_path / "out", answer=MADE)
    (state,) = normalized(settings)
    run_stages({"answer": AnswerStage(settings)}, [state])
    assert (state.status, state.reason) == ("dropped", "caption_missing")


def test_without_a_model_a_clip_without_a_caption_is_dropped_with_what_to_do(tmp_path: Path) -> None:
    source = write_source(tmp_path, {"0.mp4": toy_frames(0)}, caption="  ")
    settings = small(source, tmp_path / "out")
    (state,) = normalized(settings)
    assert (state.status, state.reason) == ("dropped", "caption_missing")
    assert "set answer.missing_caption to make" in state.detail
    with pytest.raises(ValueError, match=r"'make', which needs answer.backend 'image_text'"):
        AnswerStage(replace(settings, answer=AnswerSettings(missing_caption="make"))).load()


def test_a_still_video_is_dropped_before_any_model_looks(tmp_path: Path) -> None:
    clips = {"moves.mp4": toy_frames(0), "still.mp4": np.repeat(toy_frames(0)[:1], 16, axis=0)}
    settings = small(write_source(tmp_path, clips), tmp_path / "out")
    moves, still = normalized(settings)
    assert (still.status, still.reason, still.stage) == ("dropped", "static_clip", "normalize")
    assert still.scores["motion"] < 0.003 < moves.scores["motion"]
    assert "under 0.003" in still.detail
    assert moves.status == ""
    taken = normalized(replace(settings, output=tmp_path / "all", motion=MotionSettings(min_motion=0.0)))
    assert [state.status for state in taken] == ["", ""]


@pytest.mark.parametrize(
    ("caption", "answer", "expected"),
    [
        (SAID, "A dog.", ("dog", "answer", "animal")),
        (SAID, "🐶", ("dog", "noun", "animal")),
        ("🐶🐶🐶", "🐶", Reason.LABEL_MISSING),
        ("a 🐶 dog", "dog 🐶", ("dog 🐶", "answer", "animal")),
        ("собака бежит по полю", "собака", ("собака", "noun", "other")),
        ("a dog and a " + "very " * 2000 + "big cat", "the " + "big " * 2500 + "dog", ("dog", "noun", "animal")),
        ("x" * 10_000, "y" * 10_000, Reason.LABEL_MISSING),
        ("." * 10_000, "!?" * 5_000, Reason.LABEL_MISSING),
        ("the background", "no idea", Reason.LABEL_WITHOUT_MEANING),
        (SAID, "", ("dog", "noun", "animal")),
        ("it is there", "", Reason.LABEL_MISSING),
        ("", "a dog", ("dog", "answer", "animal")),
        (" . ", "a dog", ("dog", "answer", "animal")),
        ("", "", Reason.LABEL_MISSING),
        ("a dog\x00\u202e runs\n\n", "a dog\t\n\nIt runs.", ("dog", "answer", "animal")),
    ],
)
def test_every_text_ends_in_a_label_or_a_reason(
    caption: str, answer: str, expected: Reason | tuple[str, str, str]
) -> None:
    state = ClipState(source="a", path="a", caption=caption, fields={}, answer=answer)
    run_stages({"label": label_stage(CurationSettings())}, [state])
    if isinstance(expected, Reason):
        assert expected in DROPPED_REASONS
        assert (state.status, state.reason, state.label) == ("dropped", expected, "")
        assert state.detail
    else:
        assert (state.status, state.detail) == ("", "")
        assert (state.label, state.label_source, state.category) == expected
        assert state.augmented_caption.endswith(state.label)
        assert not state.augmented_caption.startswith(",")
    assert ClipState.from_json(state.to_json()) == state


def masked(settings: CurationSettings, masker: FixedMasker, monkeypatch: pytest.MonkeyPatch) -> ClipState:
    """Return the first clip's state after the masks' stage."""
    (state, *_) = normalized(settings)
    state.label = "dog"
    monkeypatch.setattr(stages, "new_masker", lambda _settings: masker)
    run_stages({"mask": MaskStage(settings)}, [state])
    return state


def test_masks_scores_and_models_are_kept_for_the_commit(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = masked(small(source, tmp_path), FixedMasker(40), monkeypatch)
    assert state.status == ""
    # 1600 of 128 x 96 pixels
    assert state.scores["area_ratio_first"] == state.scores["area_ratio_mean"] == pytest.approx(0.130208, abs=1e-6)
    assert state.scores["training_view"] == 1
    assert (state.scores["grounding"], state.scores["agreement"]) == (0.75, 0.5)
    assert state.models["mask"] == "fixed@1"
    assert (state.thresholds["min_area_ratio"], state.thresholds["max_area_ratio"]) == (0.05, 0.6)
    assert len(json.loads(Workspace(tmp_path).masks(state.row_id).read_bytes())) == 16


def test_a_subject_outside_the_training_view_is_dropped_unless_training_sees_all(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of its columns 0 to 40 the middle square, 16 to 112, shows 24: 960 of 96 x 96 pixels, 0.104; in the frame 0.130.
    filters = FilterSettings(min_short_side_px=HEIGHT, min_area_ratio=0.12)
    left = masked(small(source, tmp_path, filters=filters), FixedMasker(0), monkeypatch)
    assert (left.status, left.reason, left.scores["training_view"]) == ("dropped", "outside_training_view", 0)
    assert not Workspace(tmp_path).masks(left.row_id).exists()
    anywhere = replace(filters, training_view=TrainingViewSettings(crop="none"))
    state = masked(small(source, tmp_path / "b", filters=anywhere), FixedMasker(0), monkeypatch)
    assert state.status == ""
    assert "training_view" not in state.scores


def test_the_area_of_the_first_frame_can_decide_before_the_rest_is_tracked(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters = FilterSettings(min_short_side_px=HEIGHT, min_area_ratio=0.2)
    for area_frames, calls in (("first", ["first"]), ("mean", ["first", "rest"])):
        masker = FixedMasker(40)
        chosen = replace(filters, area_frames=area_frames)
        state = masked(small(source, tmp_path / area_frames, filters=chosen), masker, monkeypatch)
        assert (state.status, state.reason) == ("dropped", "area_too_small")
        assert masker.calls == calls


def test_what_breaks_in_a_stage_is_that_clips_own_row(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(FixedMasker):
        def follow(self, frames, request, check_first):
            raise KeyError("weights")

    state = masked(small(source, tmp_path), Broken(0), monkeypatch)
    assert (state.status, state.reason, state.stage) == ("failed", "internal_error", "mask")
    assert state.detail.startswith("KeyError: 'weights' (test_stages.py:")


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0.4, 2.0), list(range(10, 50))),
        ((0.6, 0.8), list(range(15, 20))),
        ((1.16, 1.2), [29]),
        (("0.28", None), list(range(7, 60))),
        ((0, 0.04), [0]),
    ],
)
def test_a_span_holds_the_frames_that_its_decimals_say(span: tuple[Any, Any], expected: list[int]) -> None:
    frames = (np.full((1, 1, 3), index, np.uint8) for index in range(60))
    start, end = float(span[0]), None if span[1] is None else float(span[1])
    assert [int(frame[0, 0, 0]) for frame in canonical._within(frames, Fraction(25), start, end)] == expected


@pytest.mark.parametrize(
    "span", [("nan", None), ("inf", None), (0, "nan"), (-1, None), (1, 1), ("a", None), (0, "inf")]
)
def test_a_span_that_is_none_has_its_own_reason(source: Path, tmp_path: Path, span: tuple[Any, Any]) -> None:
    settings = small(source, tmp_path)
    state = list_inputs(settings)[0]
    state.fields |= {"start_seconds": span[0]} | ({} if span[1] is None else {"end_seconds": span[1]})
    (done,) = work(("normalize",), settings, [state])
    assert (done.status, done.reason) == ("failed", "span_unusable")
