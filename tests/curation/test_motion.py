"""Motion of drawn clips whose speed is known, of stills with the noise that codecs and sensors add, and of toyworld."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from magdiff_curation.clips.masks import Frames, Image
from magdiff_curation.clips.video import CodecSettings, decode, encode
from magdiff_curation.motion import Motion, MotionSettings, check_motion, measure_motion
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.toyworld.actions import ACTIONS
from magdiff_curation.toyworld.scene import render, sample_scene

NO_ZOOMS = MotionSettings(min_own_motion=0.006)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def picture() -> Image:
    """A picture with structure at every scale, uint8 [256, 320, 3]."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.resize(rng.uniform(-1, 1, (256 // size, 320 // size, 3)), (320, 256), interpolation=cv2.INTER_CUBIC)
        for size in (64, 32, 16, 8)
    ]
    return np.clip(128 + 40 * np.sum(layers, axis=0), 0, 255).astype(np.uint8)


def warped(picture: Image, matrices: list[np.ndarray]) -> Frames:
    height, width = picture.shape[:2]
    flags = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REFLECT}
    return np.stack([cv2.warpAffine(picture, matrix, (width, height), **flags) for matrix in matrices])


def reason(motion: Motion, settings: MotionSettings) -> Reason | None:
    try:
        check_motion(motion, settings)
    except ClipRejected as rejection:
        return rejection.reason
    return None


def test_a_pan_of_known_speed_is_measured_and_is_the_cameras(picture: Image) -> None:
    # 2 px a frame, 25 frames a second, of 256 px
    pan = warped(picture, [np.array([[1, 0, 2.0 * index], [0, 1, 0]]) for index in range(25)])
    motion = measure_motion(pan, 25)
    assert motion.mean == pytest.approx(50 / 256, rel=0.1)
    assert motion.own < 0.1 * motion.mean


def test_speed_is_per_second_whatever_the_frame_rate(picture: Image) -> None:
    pan = warped(picture, [np.array([[1, 0, 1.0 * index], [0, 1, 0]]) for index in range(50)])
    assert measure_motion(pan[::2], 25).mean == pytest.approx(measure_motion(pan, 50).mean, rel=0.1)


@pytest.mark.parametrize("quality", [17, 28, 36])
def test_a_still_picture_is_static_after_a_codec(picture: Image, quality: int) -> None:
    still = np.repeat(picture[None], 30, axis=0)
    video = encode(still, 25, CodecSettings(constant_rate_factor=quality))
    assert reason(measure_motion(decode(video), 25), MotionSettings()) == Reason.STATIC


def test_a_still_picture_is_static_under_sensor_noise(picture: Image) -> None:
    noise = 2 * np.random.default_rng(1).standard_normal((30, *picture.shape))
    frames = np.clip(picture + noise, 0, 255).astype(np.uint8)
    assert reason(measure_motion(frames, 25), MotionSettings()) == Reason.STATIC


def test_a_zoom_over_a_still_moves_but_not_beyond_the_camera(picture: Image) -> None:
    zoom = [cv2.getRotationMatrix2D((160, 128), 0, 1 + 0.03 * index / 25) for index in range(50)]
    motion = measure_motion(warped(picture, zoom), 25)
    assert reason(motion, MotionSettings()) is None
    assert reason(motion, NO_ZOOMS) == Reason.STATIC


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_toyworld_action_counts_as_motion_of_its_own(action: str) -> None:
    scene = replace(sample_scene(5, 0), action=action)
    motion = measure_motion(render(scene, height=128, width=128, num_frames=16)[0], 8)
    assert reason(motion, NO_ZOOMS) is None


def test_the_same_clip_has_the_same_motion_every_time() -> None:
    frames = render(sample_scene(5, 1), height=96, width=128, num_frames=12)[0]
    assert measure_motion(frames, 8) == measure_motion(frames.copy(), 8)


def test_a_single_frame_does_not_move(picture: Image) -> None:
    assert measure_motion(picture[None], 25) == Motion(mean=0.0, own=0.0)


def test_too_much_motion_has_its_own_reason_and_names_both_numbers() -> None:
    with pytest.raises(ClipRejected) as caught:
        check_motion(Motion(mean=0.9, own=0.5), MotionSettings(max_motion=0.8))
    assert caught.value.reason == Reason.TOO_MUCH_MOTION
    assert "0.9" in caught.value.detail
    assert "0.8" in caught.value.detail
    check_motion(Motion(mean=0.9, own=0.5), MotionSettings())
