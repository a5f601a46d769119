"""Near-duplicates: fingerprints of copies and of other clips, and the search against comparing every pair."""

from __future__ import annotations

import random
import time

import cv2
import numpy as np
import pytest

from magdiff_curation.clips.masks import Frames
from magdiff_curation.clips.video import CodecSettings, decode, encode
from magdiff_curation.duplicates import DuplicateSettings, distance, fingerprint, near_duplicates
from magdiff_curation.toyworld.scene import render, sample_scene, with_background

ON = DuplicateSettings(method="phash")


@pytest.fixture(scope="module")
def clip() -> Frames:
    return render(sample_scene(3, 1), height=512, width=512, num_frames=8)[0]


def resized(frames: Frames, side: int) -> Frames:
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in frames])


def hexadecimal(values: dict[str, int]) -> dict[str, str]:
    return {key: f"{value:064x}" for key, value in values.items()}


def with_flipped_bits(value: int, count: int, rng: random.Random) -> int:
    for bit in rng.sample(range(256), count):
        value ^= 1 << bit
    return value


def by_every_pair(values: dict[str, int], limit: int, already_kept: set[str]) -> dict[str, str]:
    kept: list[str] = []
    dropped: dict[str, str] = {}
    for key in [*sorted(already_kept), *sorted(set(values) - already_kept)]:
        near = [other for other in kept if (values[key] ^ values[other]).bit_count() <= limit]
        if near and key not in already_kept:
            dropped[key] = near[0]
        else:
            kept.append(key)
    return dropped


def test_copies_are_within_the_default_distance(clip: Frames) -> None:
    copies = {
        "encoded again": decode(encode(clip, 8, CodecSettings(constant_rate_factor=36))),
        "480 px": decode(encode(resized(clip, 480), 8, CodecSettings(constant_rate_factor=28))),
        "cropped by 2 %": clip[:, 5:-5, 5:-5],
        "brighter": np.clip(clip.astype(int) + 20, 0, 255).astype(np.uint8),
    }
    distances = {name: distance(fingerprint(copy), fingerprint(clip)) for name, copy in copies.items()}
    assert max(distances.values()) <= DuplicateSettings().max_distance, distances


def test_other_scenes_before_the_same_background_are_beyond_it(clip: Frames) -> None:
    background = sample_scene(3, 1).background
    for index in (2, 3, 4, 5):
        scene = with_background(sample_scene(3, index), background)
        other = render(scene, height=128, width=128, num_frames=8)[0]
        assert distance(fingerprint(other), fingerprint(clip)) > DuplicateSettings().max_distance


def test_a_fingerprint_has_64_digits_however_few_frames_there_are(clip: Frames) -> None:
    assert len(fingerprint(clip[:1])) == len(fingerprint(clip)) == 64
    assert distance("0" * 64, "0" * 63 + "3") == 2


@pytest.mark.parametrize("limit", [0, 1, 7, 20, 41])
def test_the_search_finds_what_comparing_every_pair_finds(limit: int) -> None:
    rng = random.Random(limit)
    values: dict[str, int] = {}
    for number in range(60):
        centre = rng.getrandbits(256)
        for copy in range(6):
            value = with_flipped_bits(centre, rng.randrange(limit + 2), rng)
            values[f"{rng.getrandbits(32):08x}-{number}-{copy}"] = value
    already_kept = set(rng.sample(sorted(values), 40))
    found = near_duplicates(hexadecimal(values), DuplicateSettings(method="phash", max_distance=limit), already_kept)
    assert found == by_every_pair(values, limit, already_kept)
    assert found


def test_the_lowest_key_is_kept_whatever_the_order_of_the_input() -> None:
    fingerprints = {"c": "0" * 64, "a": "0" * 63 + "1", "b": "f" * 64, "d": "0" * 64}
    backwards = dict(reversed(fingerprints.items()))
    assert near_duplicates(fingerprints, ON) == near_duplicates(backwards, ON) == {"c": "a", "d": "a"}


def test_what_is_kept_already_wins_over_lower_keys_and_is_never_dropped() -> None:
    fingerprints = dict.fromkeys(("a", "b", "x", "y"), "0" * 64)
    assert near_duplicates(fingerprints, ON, already_kept=["x", "y"]) == {"a": "x", "b": "x"}


def test_a_clip_near_a_dropped_one_only_is_kept() -> None:
    far = (1 << 30) - 1
    values = {"a": 0, "b": (1 << 15) - 1, "c": far}
    assert near_duplicates(hexadecimal(values), ON) == {"b": "a"}


def test_nothing_is_dropped_unless_asked_for() -> None:
    assert near_duplicates({"a": "0" * 64, "b": "0" * 64}, DuplicateSettings()) == {}


def test_ten_thousand_clips_and_as_many_copies_take_seconds() -> None:
    rng = random.Random(5)
    values = {f"{number:06d}": rng.getrandbits(256) for number in range(10_000)}
    values |= {f"x{number}": values["000007"] ^ 1 << number % 256 for number in range(10_000)}
    begin = time.process_time()
    found = near_duplicates(hexadecimal(values), ON)
    assert time.process_time() - begin < 15
    assert found == {f"x{number}": "000007" for number in range(10_000)}


def test_malformed_fingerprints_and_distances_are_refused() -> None:
    with pytest.raises(ValueError, match="fingerprint of b is 'xyz', not 64"):
        near_duplicates({"a": "0" * 64, "b": "xyz"}, ON)
    with pytest.raises(ValueError, match="not 64 hexadecimal digits"):
        near_duplicates({"a": "g" * 64}, ON)
    with pytest.raises(ValueError, match="max_distance is 256"):
        near_duplicates({}, DuplicateSettings(method="phash", max_distance=256))
