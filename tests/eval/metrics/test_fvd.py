import math
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from magdiff_eval.metrics.frechet import frechet_distance, frechet_distance_from_features
from magdiff_eval.metrics.fvd import MAGDIFF, PROTOCOLS, STYLEGANV, TF, FvdProtocol, clip_indices, prepare_clips
from magdiff_eval.metrics.fvd_interval import fvd_with_interval

Rows = NDArray[np.float64]
Gaussian = tuple[Rows, Rows]


def videos(num_frames: int, height: int = 40, width: int = 56, num_videos: int = 2) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (num_videos, num_frames, height, width, 3), np.uint8)


def gaussians(kind: str, dim: int) -> tuple[Gaussian, Gaussian]:
    """Two populations; `far` and `shifted` differ much, `near` little, `same` not at all."""
    spectrum = 1 / np.arange(1, dim + 1)
    plain, none = np.diag(spectrum), np.zeros(dim)
    if kind == "same":
        return (none, plain), (none, plain)
    if kind == "near":
        return (none, plain), (np.full(dim, 0.05), plain * 1.05)
    if kind == "shifted":
        return (none, np.eye(dim)), (np.full(dim, 0.3), np.eye(dim) * 1.5)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))[0]
    return (none, plain), (np.ones(dim), turn * (4 * spectrum) @ turn.T)


def draw(gaussian: Gaussian, num_rows: int, rng: np.random.Generator) -> Rows:
    mean, covariance = gaussian
    return rng.standard_normal((num_rows, len(mean))) @ np.linalg.cholesky(covariance).T + mean


def test_tf_resizes_as_tensorflow_1_does() -> None:
    source = videos(16)
    clips = prepare_clips(source, TF)
    assert clips.shape == (2, 3, 16, 224, 224)
    assert clips.dtype == torch.float32
    frames = torch.from_numpy(source.reshape(-1, 40, 56, 3)).permute(0, 3, 1, 2).float()
    resized = interpolate_bilinear_2d_like_tensorflow1x(frames, size=(224, 224), align_corners=False)
    expected = (resized * 2 / 255 - 1).reshape(2, 16, 3, 224, 224).transpose(1, 2)
    torch.testing.assert_close(clips, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(40, 56), (300, 260)])
def test_styleganv_resizes_with_half_pixel_centres_and_without_antialiasing(height: int, width: int) -> None:
    source = videos(16, height, width, num_videos=1)
    clips = prepare_clips(source, STYLEGANV)
    expected = cv2.resize(source[0, 5].astype(np.float32), (224, 224), interpolation=cv2.INTER_LINEAR) / 127.5 - 1
    np.testing.assert_allclose(clips[0, :, 5].permute(1, 2, 0).numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(40, 56), (500, 300), (64, 64), (224, 224)])
def test_magdiff_keeps_the_aspect_antialiases_and_takes_the_middle(height: int, width: int) -> None:
    source = videos(16, height, width, num_videos=1)
    clips = prepare_clips(source, MAGDIFF)
    scale = 224 / min(height, width)
    size = (224, math.ceil(height * scale)) if width <= height else (math.ceil(width * scale), 224)
    left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
    for channel in range(3):
        image = Image.fromarray(source[0, 3, :, :, channel].astype(np.float32))
        resized = np.asarray(image.resize(size, Image.Resampling.BILINEAR))[top : top + 224, left : left + 224]
        np.testing.assert_allclose(clips[0, channel, 3].numpy(), resized / 127.5 - 1, rtol=0, atol=1e-4)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_black_and_white_become_minus_one_and_one(protocol: FvdProtocol) -> None:
    source = np.zeros((2, 16, 30, 40, 3), np.uint8)
    source[1] = 255
    clips = prepare_clips(source, protocol)
    assert torch.equal(clips[0], torch.full((3, 16, 224, 224), -1.0))
    torch.testing.assert_close(clips[1], torch.ones(3, 16, 224, 224), rtol=0, atol=1e-6)
    assert clips.abs().max() <= 1


def test_the_protocols_differ_as_their_sources_do_and_can_be_stamped() -> None:
    assert {name: (one.resize, one.ddof) for name, one in PROTOCOLS.items()} == {
        "tf": ("tf1", 1),
        "styleganv": ("bilinear", 0),
        "magdiff": ("crop", 1),
    }
    assert asdict(replace(MAGDIFF, clip_mode="repeat")) == {
        "name": "magdiff",
        "resize": "crop",
        "ddof": 1,
        "published_root": "singular values",
        "num_frames": 16,
        "clip_mode": "repeat",
        "window_stride": 8,
    }


def test_eight_frames_are_refused_with_what_can_be_asked_for() -> None:
    for protocol in PROTOCOLS.values():
        with pytest.raises(ValueError, match=r"a video has 8 frames and .* shows 16: .* repeat or resample"):
            prepare_clips(videos(8), protocol)
    with pytest.raises(ValueError, match=r"a video has 32 frames .* windows or resample"):
        prepare_clips(videos(32), MAGDIFF)


def test_repeat_starts_again_and_resample_holds_each_frame() -> None:
    repeat, resample = replace(MAGDIFF, clip_mode="repeat"), replace(MAGDIFF, clip_mode="resample")
    assert clip_indices(8, repeat).tolist() == [[*range(8), *range(8)]]
    assert clip_indices(6, repeat).tolist() == [[*range(6), *range(6), *range(4)]]
    assert clip_indices(8, resample).tolist() == [[frame for frame in range(8) for _ in range(2)]]
    source = videos(8)
    shown = prepare_clips(np.concatenate([source, source], axis=1), MAGDIFF)
    assert torch.equal(prepare_clips(source, repeat), shown)
    assert torch.equal(prepare_clips(source, resample), prepare_clips(source.repeat(2, axis=1), MAGDIFF))


@pytest.mark.parametrize("num_frames", [1, 5, 8, 11, 16, 24, 31, 100])
def test_resample_takes_the_frames_that_torch_calls_nearest(num_frames: int) -> None:
    places = torch.arange(num_frames, dtype=torch.float64)[None, None]
    expected = torch.nn.functional.interpolate(places, size=16, mode="nearest-exact")[0].long()
    assert clip_indices(num_frames, replace(TF, clip_mode="resample")).tolist() == expected.tolist()


def test_windows_overlap_by_half_and_the_last_ends_with_the_video() -> None:
    windows = replace(MAGDIFF, clip_mode="windows")
    assert clip_indices(16, windows).tolist() == [list(range(16))]
    assert clip_indices(35, windows)[:, 0].tolist() == [0, 8, 16, 19]
    assert clip_indices(35, windows)[-1].tolist() == list(range(19, 35))
    assert clip_indices(32, replace(windows, window_stride=16))[:, 0].tolist() == [0, 16]
    source = videos(20)
    clips = prepare_clips(source, windows)
    for number, (video, start) in enumerate([(0, 0), (0, 4), (1, 0), (1, 4)]):
        alone = prepare_clips(source[video : video + 1, start : start + 16], MAGDIFF)
        assert torch.equal(clips[number : number + 1], alone)


def test_lengths_that_a_mode_does_not_take_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer than a window's 16: ask for repeat or resample"):
        clip_indices(15, replace(MAGDIFF, clip_mode="windows"))
    with pytest.raises(ValueError, match="17 frames, repeat takes 1 to 16: ask for windows or resample"):
        clip_indices(17, replace(MAGDIFF, clip_mode="repeat"))
    for mode in ("repeat", "resample"):
        with pytest.raises(ValueError, match="frames"):
            clip_indices(0, replace(MAGDIFF, clip_mode=mode))


def test_settings_and_arrays_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ValueError, match="num_frames is 8: I3D takes 9 or more"):
        replace(MAGDIFF, num_frames=8)
    with pytest.raises(ValueError, match="window_stride is 17: need 1 to 16"):
        replace(MAGDIFF, window_stride=17)
    with pytest.raises(ValueError, match="clip_mode is 'loop': give one of exact, windows, repeat, resample"):
        replace(MAGDIFF, clip_mode="loop")
    with pytest.raises(ValueError, match="resize is 'area': give one of tf1, bilinear, crop"):
        replace(MAGDIFF, resize="area")
    with pytest.raises(ValueError, match=r"got float64 \(2, 16, 40, 56, 3\): need RGB videos, uint8"):
        prepare_clips(videos(16) / 255, MAGDIFF)
    with pytest.raises(ValueError, match=r"got uint8 \(16, 40, 56, 3\)"):
        prepare_clips(videos(16)[0], MAGDIFF)


def test_the_value_is_the_distance_and_the_extrapolation_is_rid_of_its_bias() -> None:
    one, other = gaussians("shifted", 16)
    rng = np.random.default_rng(0)
    a, b = draw(one, 200, rng), draw(other, 300, rng)
    truth = frechet_distance(*one, *other)
    found = fvd_with_interval(a, b, ddof=1, num_resamples=50, seed=0)
    assert found.value == frechet_distance_from_features(a, b)
    assert (found.num_a, found.num_b, found.confidence) == (200, 300, 0.95)
    assert found.value > found.upper  # the bias is more than the interval's half
    assert found.lower < truth < found.upper
    assert abs(found.extrapolated - truth) < abs(found.value - truth) / 2
    biased = fvd_with_interval(a, b, ddof=0, num_resamples=50, seed=0)
    assert biased.value == frechet_distance_from_features(a, b, ddof=0)
    assert biased.extrapolated == pytest.approx(found.extrapolated, abs=0.02)


def test_an_interval_comes_again_with_its_seed_and_widens_with_confidence() -> None:
    one, other = gaussians("near", 4)
    rng = np.random.default_rng(1)
    a, b = draw(one, 300, rng) * 3, draw(other, 300, rng)
    found = [
        fvd_with_interval(a, b, ddof=1, num_resamples=20, seed=seed, confidence=confidence)
        for seed, confidence in ((0, 0.95), (0, 0.95), (1, 0.95), (0, 0.99))
    ]
    assert found[0] == found[1]
    assert found[0].extrapolated != found[2].extrapolated
    assert found[0].lower == pytest.approx(found[2].lower, rel=0.2)
    widths = [one.upper - one.extrapolated for one in found]
    assert widths[3] / widths[0] == pytest.approx(2.5758 / 1.9600, rel=1e-4)
    assert found[0].upper - found[0].extrapolated == pytest.approx(found[0].extrapolated - found[0].lower)


def test_clips_of_one_video_count_as_one() -> None:
    one, other = gaussians("shifted", 6)
    rng = np.random.default_rng(2)
    a, b = draw(one, 60, rng), draw(other, 80, rng)
    alone = fvd_with_interval(a, b, ddof=0, num_resamples=40, seed=0)
    thrice = [rows.repeat(3, axis=0) for rows in (a, b)]
    together = fvd_with_interval(*thrice, ddof=0, num_resamples=40, seed=0, clips_per_video=3)
    for name in ("value", "num_a", "num_b", "extrapolated", "lower", "upper", "reliable"):
        assert getattr(together, name) == pytest.approx(getattr(alone, name), rel=1e-9)
    apart = fvd_with_interval(*thrice, ddof=0, num_resamples=40, seed=0)
    assert apart.upper - apart.lower < 0.7 * (alone.upper - alone.lower)


def test_sets_that_cannot_be_told_apart_have_an_interval_from_zero() -> None:
    rows = draw(gaussians("same", 8)[0], 200, np.random.default_rng(3))
    found = fvd_with_interval(rows[:100], rows[100:], ddof=1, num_resamples=40, seed=0)
    assert found.value > 0.05
    assert found.lower == 0 <= found.upper < found.value


def test_fewer_than_five_videos_a_feature_are_called_unreliable() -> None:
    rows = draw(gaussians("same", 8)[0], 80, np.random.default_rng(4))
    for num_a, num_b, reliable in ((40, 40, True), (39, 41, False), (41, 39, False)):
        found = fvd_with_interval(rows[:num_a], rows[-num_b:], ddof=1, num_resamples=20, seed=0)
        assert found.reliable is reliable


def test_features_and_settings_that_give_no_interval_are_refused() -> None:
    rows = draw(gaussians("same", 4)[0], 20, np.random.default_rng(5))
    with pytest.raises(ValueError, match="b has 3 rows and needs at least 4"):
        fvd_with_interval(rows, rows[:3], ddof=1, num_resamples=20, seed=0)
    with pytest.raises(ValueError, match="a has 4 features and b 3"):
        fvd_with_interval(rows, rows[:, :3], ddof=1, num_resamples=20, seed=0)
    with pytest.raises(ValueError, match="num_resamples is 19: need 20 or more"):
        fvd_with_interval(rows, rows, ddof=1, num_resamples=19, seed=0)
    with pytest.raises(ValueError, match="confidence is 95: need a number between 0 and 1"):
        fvd_with_interval(rows, rows, ddof=1, num_resamples=20, seed=0, confidence=95)
    with pytest.raises(ValueError, match="a has 20 rows, not a multiple of clips_per_video 3"):
        fvd_with_interval(rows, rows, ddof=1, num_resamples=20, seed=0, clips_per_video=3)
    with pytest.raises(ValueError, match="clips_per_video is 0"):
        fvd_with_interval(rows, rows, ddof=1, num_resamples=20, seed=0, clips_per_video=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dim", "num_a", "num_b"),
    [("same", 16, 200, 200), ("near", 16, 200, 200), ("shifted", 32, 200, 500), ("far", 16, 200, 300)],
)
def test_95_percent_intervals_hold_the_true_distance_of_two_gaussians_in_nine_draws_of_ten(
    kind: str, dim: int, num_a: int, num_b: int
) -> None:
    one, other = gaussians(kind, dim)
    truth = frechet_distance(*one, *other)
    found = []
    for seed in range(200):
        rng = np.random.default_rng([seed, dim])
        a, b = draw(one, num_a, rng), draw(other, num_b, rng)
        found.append(fvd_with_interval(a, b, ddof=1, num_resamples=40, seed=seed))
    assert sum(estimate.lower <= truth <= estimate.upper for estimate in found) >= 180
    middle = np.mean([estimate.extrapolated for estimate in found])
    spread = np.std([estimate.extrapolated for estimate in found])
    assert abs(middle - truth) < spread / 2  # what bias is left is less than chance
    assert np.mean([estimate.value for estimate in found]) - truth > 5 * spread / np.sqrt(200)
