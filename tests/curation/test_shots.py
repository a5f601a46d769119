"""Sources with cuts become one input a shot: through `curate` with its workers in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from in_process import curate_here, packed_clips, work
from products import products

from magdiff_curation import canonical, normalize, pipeline, shots, split, stages
from magdiff_curation.clips.masks import Frames, Mask
from magdiff_curation.clips.video import encode
from magdiff_curation.commit import Workspace
from magdiff_curation.config import ClipSettings, CurationSettings, FilterSettings
from magdiff_curation.grounding import GroundingRequest
from magdiff_curation.normalize import decode_source, probe_source
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.sam_track import Followed
from magdiff_curation.shots import ShotFinder, as_inputs, known_shots, read_shots
from magdiff_curation.sources import list_inputs
from magdiff_curation.split import Shot, SplitSettings
from magdiff_curation.state import ClipState
from magdiff_curation.toyworld.scene import render, sample_scene, with_background
from magdiff_curation.vision_config import MaskSettings

RATE = 25
TRIM = 3
"""Frames: 0.1 s, rounded up."""
BACKGROUNDS = ("meadow", "sunset", "tiles")


def film(*lengths: int) -> Frames:
    """Return one scene a length, each before another background, uint8 [F, 96, 128, 3]."""
    pieces = [
        render(with_background(sample_scene(2, number), background), height=96, width=128, num_frames=length)[0]
        for number, (background, length) in enumerate(zip(BACKGROUNDS, lengths, strict=False))
    ]
    return np.concatenate(pieces)


class MiddleMasker:
    """Says that the subject is the middle of every frame."""

    def __init__(self, settings: MaskSettings) -> None:
        self.settings = settings
        self.models = {"mask": "middle"}

    def follow(self, frames: Frames, request: GroundingRequest, check_first: Callable[[Mask], None]) -> Followed:
        masks = np.zeros(frames.shape[:3], np.bool_)
        masks[:, 32:64, 48:80] = True
        check_first(masks[0])
        return Followed(masks=masks, score=1.0, agreement=1.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a manifest of sources with two, three and one shots, one with a span of its own, and two that are none."""
    folder = tmp_path_factory.mktemp("films")
    for name, lengths in {"two.mp4": (40, 36), "three.mp4": (40, 36, 12), "one.mp4": (40,)}.items():
        (folder / name).write_bytes(encode(film(*lengths), RATE))
    (folder / "broken.mp4").write_bytes(b"not a video")
    names = ["two.mp4", "three.mp4", "one.mp4", "broken.mp4", "missing.mp4"]
    rows = [{"video": name, "caption": "a dog in a meadow", "answer": "a dog", "box": "1 2 30 40"} for name in names]
    rows.append(rows[0] | {"start_seconds": 0.4, "end_seconds": 2.0})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "manifest.jsonl"


@pytest.fixture(scope="module")
def settings(source: Path, tmp_path_factory: pytest.TempPathFactory) -> CurationSettings:
    return CurationSettings(
        source=source,
        output=tmp_path_factory.mktemp("out"),
        clip=ClipSettings(short_side_px=96),
        filters=FilterSettings(min_short_side_px=96),
        split=SplitSettings(detector="adaptive"),
    )


@pytest.fixture(scope="module")
def curated(settings: CurationSettings) -> dict[str, dict]:
    with mock.patch.object(stages, "new_masker", MiddleMasker):
        return curate_here(settings)


def encoded(settings: CurationSettings, name: str, frames: slice) -> bytes:
    """Return the canonical clip of some frames of a source, made without any of the code for shots."""
    path = settings.source.parent / name
    info = probe_source(path, settings.limits)
    images = list(decode_source(path, info, settings.clip, settings.limits))
    return encode(images[frames], Fraction(RATE), settings.clip.codec)


def test_every_shot_is_an_input_and_what_is_none_stays_one(curated: dict[str, dict]) -> None:
    assert {name: (row["status"], row["reason"]) for name, row in curated.items()} == {
        "two.mp4@1": ("kept", "kept"),
        "two.mp4@2": ("kept", "kept"),
        "two.mp4#2": ("kept", "kept"),
        "three.mp4@1": ("kept", "kept"),
        "three.mp4@2": ("kept", "kept"),
        "three.mp4@3": ("dropped", "too_short"),
        "one.mp4": ("kept", "kept"),
        "broken.mp4": ("failed", "source_unreadable"),
        "missing.mp4": ("failed", "source_missing"),
    }


@pytest.mark.parametrize(
    ("source_name", "shot", "frames"),
    [
        ("two.mp4", "two.mp4@1", slice(0, 40 - TRIM)),
        ("two.mp4", "two.mp4@2", slice(40 + TRIM, 76)),
        ("three.mp4", "three.mp4@2", slice(40 + TRIM, 76 - TRIM)),
        ("one.mp4", "one.mp4", slice(0, 40)),
        ("two.mp4", "two.mp4#2", slice(10, 50)),
    ],
)
def test_a_shots_clip_is_its_frames_to_the_byte(
    settings: CurationSettings, curated: dict[str, dict], source_name: str, shot: str, frames: slice
) -> None:
    clip = packed_clips(settings.output)[shot]
    assert clip.video == encoded(settings, source_name, frames)
    assert clip.record.num_frames == curated[shot]["num_frames"] == frames.stop - frames.start
    assert clip.masks.shape[0] == clip.record.num_frames


def test_a_shot_that_is_too_short_says_where_it_is_and_what_the_limit_is(curated: dict[str, dict]) -> None:
    row = curated["three.mp4@3"]
    assert row["stage"] == "normalize"
    assert row["detail"] == "shot 3, 3.039 s to its end, is under 1 s"


def test_spans_and_keys_tell_the_shots_of_one_source_apart(
    settings: CurationSettings, curated: dict[str, dict]
) -> None:
    clips = packed_clips(settings.output)
    spans = [clips[name].record.provenance["span_seconds"] for name in ("two.mp4@1", "two.mp4@2", "two.mp4#2")]
    assert spans == [[0.0, 1.479], [1.719, None], [0.4, 2.0]]
    assert clips["one.mp4"].record.provenance["span_seconds"] == [0.0, None]
    assert len({clip.record.key for clip in clips.values()}) == len(clips) == 6
    assert (
        clips["two.mp4@1"].record.provenance["source_sha256"] == clips["two.mp4#2"].record.provenance["source_sha256"]
    )


def test_a_source_that_cannot_be_read_keeps_its_reason(curated: dict[str, dict]) -> None:
    assert curated["broken.mp4"]["stage"] == curated["missing.mp4"]["stage"] == "shots"
    assert "is not a file" in curated["missing.mp4"]["detail"]


def test_nothing_is_left_waiting_for_a_commit(settings: CurationSettings, curated: dict[str, dict]) -> None:
    assert curated
    assert list((settings.output / "work" / "clips").iterdir()) == []


def test_a_second_run_finds_the_same_inputs_and_opens_nothing(
    settings: CurationSettings, curated: dict[str, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = products(settings.output)

    def open_nothing(*arguments: object, **named: object) -> None:
        raise AssertionError(f"opened {arguments}")

    for module in (normalize, shots, split, canonical, stages):
        for name in ("decode_source", "probe_source"):
            monkeypatch.setattr(module, name, open_nothing, raising=False)
    assert curate_here(settings) == curated
    assert products(settings.output) == before


def test_a_dry_run_looks_for_no_shots(settings: CurationSettings, tmp_path: Path) -> None:
    elsewhere = replace(settings, output=tmp_path / "out")
    summary = pipeline.curate(elsewhere, dry_run=True)
    assert summary == {"inputs": 6, "to_do": 6}
    assert not (tmp_path / "out").exists()


def test_the_clips_wait_where_normalizing_finds_them(settings: CurationSettings, tmp_path: Path) -> None:
    elsewhere = replace(settings, output=tmp_path)
    (state,) = (state for state in list_inputs(elsewhere) if state.source == "two.mp4")
    work(("shots",), elsewhere, [state])
    children = known_shots(state, elsewhere, read_shots([state], elsewhere))
    assert children is not None
    assert [child.source for child in children] == ["two.mp4@1", "two.mp4@2"]
    videos = [Workspace(tmp_path).video(child.row_id).read_bytes() for child in children]
    assert videos[1] == encoded(settings, "two.mp4", slice(40 + TRIM, 76))
    # A clip that is gone, as after a failure that is tried again, is made from the span and is the same.
    Workspace(tmp_path).video(children[1].row_id).unlink()
    done = work(("normalize",), elsewhere, children)
    assert [state.status for state in done] == ["", ""]
    assert [Workspace(tmp_path).video(child.row_id).read_bytes() for child in children] == videos


def test_without_splitting_a_source_is_one_input_whatever_its_cuts(settings: CurationSettings, tmp_path: Path) -> None:
    unsplit = replace(settings, output=tmp_path, split=SplitSettings())
    for state in list_inputs(unsplit):
        assert known_shots(state, unsplit, read_shots([state], unsplit)) == [state]


def test_long_shots_become_pieces_without_a_detector(settings: CurationSettings, tmp_path: Path) -> None:
    pieces = replace(settings, output=tmp_path, split=SplitSettings(max_shot_seconds=1.0))
    state = next(state for state in list_inputs(pieces) if state.source == "one.mp4")
    work(("shots",), pieces, [state])
    children = known_shots(state, pieces, read_shots([state], pieces))
    assert children is not None
    videos = [Workspace(tmp_path).video(child.row_id).read_bytes() for child in children]
    assert videos == [encoded(settings, "one.mp4", slice(0, 20)), encoded(settings, "one.mp4", slice(20, 40))]


def test_the_manifests_box_goes_with_the_first_frame_only(settings: CurationSettings) -> None:
    state = ClipState(source="a.mp4", path="a.mp4", caption="a dog", fields={"box": "1 2 3 4", "answer": "a dog"})
    spans = [(0.0, 1.479), (1.719, None)]
    found = [
        Shot(number=number, start_seconds=start, end_seconds=end, too_short=False)
        for number, (start, end) in enumerate(spans, start=1)
    ]
    first, second = as_inputs(state, found, settings)
    assert first.fields == {"box": "1 2 3 4", "answer": "a dog", "start_seconds": 0.0, "end_seconds": 1.479}
    assert second.fields == {"answer": "a dog", "start_seconds": 1.719}
    assert state.fields == {"box": "1 2 3 4", "answer": "a dog"}


def test_a_source_that_could_not_be_read_is_looked_at_again_where_failures_are(
    source: Path, settings: CurationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "two.mp4").write_bytes((source.parent / "two.mp4").read_bytes())
    (folder / "two.txt").write_text("a dog in a meadow")
    again = replace(
        settings,
        source=folder,
        output=tmp_path / "out",
    )
    broken = {"for_now": True}
    decode = normalize.decode_source

    def flaky(*arguments, **named):
        if broken["for_now"]:
            raise normalize.ClipRejected(normalize.Reason.LIMIT_EXCEEDED, "ffmpeg took more than 60 s")
        return decode(*arguments, **named)

    for module in (normalize, shots, canonical):
        monkeypatch.setattr(module, "decode_source", flaky)
    assert {name: row["reason"] for name, row in curate_here(again).items()} == {"two.mp4": "limit_exceeded"}
    broken["for_now"] = False
    assert set(curate_here(again)) == {"two.mp4"}
    rows = curate_here(again, retry_errors=True)
    assert {"two.mp4@1", "two.mp4@2"} <= set(rows)


def test_a_source_whose_worker_died_is_not_taken_as_one_clip(settings: CurationSettings, tmp_path: Path) -> None:
    elsewhere = replace(settings, output=tmp_path / "out", limit=1)
    with mock.patch.object(shots.ShotFinder, "__call__", return_value=None):
        rows = curate_here(elsewhere)
    (row,) = rows.values()
    assert (row["source"], row["status"], row["reason"]) == ("broken.mp4", "failed", "worker_died")
    assert curate_here(elsewhere, retry_errors=True)["broken.mp4"]["reason"] == "source_unreadable"


def test_a_source_that_ran_out_of_time_never_becomes_one_clip_across_its_cuts(
    settings: CurationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = replace(settings, output=tmp_path)
    state = next(state for state in list_inputs(elsewhere) if state.source == "two.mp4")

    def times_out(*_arguments: object) -> None:
        raise ClipRejected(Reason.LIMIT_EXCEEDED, "ffmpeg took more than 300 s")

    monkeypatch.setattr("magdiff_curation.shots.find_shots", times_out)
    ShotFinder(elsewhere)(state)
    (known,) = known_shots(state, elsewhere, read_shots([state], elsewhere)) or []
    assert (known.source, known.status, known.reason, known.stage) == ("two.mp4", "failed", "limit_exceeded", "shots")
    assert known_shots(state, elsewhere, read_shots([state], elsewhere), again=True) is None


def test_a_source_that_is_too_small_is_not_decoded_for_its_shots(
    settings: CurationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = replace(settings, output=tmp_path, filters=replace(settings.filters, min_short_side_px=4000))
    state = next(state for state in list_inputs(strict) if state.source == "two.mp4")
    monkeypatch.setattr("magdiff_curation.shots.find_shots", None)
    ShotFinder(strict)(state)
    (known,) = known_shots(state, strict, read_shots([state], strict)) or []
    assert (known.status, known.reason) == ("dropped", "short_side_too_small")
