import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from magdiff_curation.clips.video import encode
from magdiff_curation.config import ClipSettings, LimitSettings
from magdiff_curation.normalize import canonical_rate, decode_source, probe_source
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.toyworld.benchmarks import write_ucf101
from magdiff_curation.toyworld.scene import render, sample_scene


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "it's a [clip] %d.mp4"
    path.write_bytes(encode(render(sample_scene(4, 0), height=96, width=160, num_frames=60)[0], 30))
    return path


def normalize(path: Path, clip: ClipSettings, limits: LimitSettings | None = None) -> np.ndarray:
    limits = limits or LimitSettings()
    return np.stack(list(decode_source(path, probe_source(path, limits), clip, limits)))


def reason(path: Path, limits: LimitSettings | None = None) -> Reason:
    with pytest.raises(ClipRejected) as caught:
        normalize(path, ClipSettings(), limits)
    assert caught.value.detail
    return caught.value.reason


def test_a_source_is_scaled_down_and_thinned_out(source: Path) -> None:
    frames = normalize(source, ClipSettings(short_side_px=48, max_frame_rate=10))
    assert frames.shape == (20, 48, 80, 3)
    truth = render(sample_scene(4, 0), height=48, width=80, num_frames=60)[0]
    assert np.abs(frames[10].astype(int) - truth[30]).mean() < 6


def test_a_small_slow_source_stays_as_it_is(source: Path) -> None:
    clip = ClipSettings(short_side_px=512, max_frame_rate=60)
    assert normalize(source, clip).shape == (60, 96, 160, 3)
    info = probe_source(source, LimitSettings())
    assert (info.width, info.height, info.codec, canonical_rate(info, clip)) == (160, 96, "h264", Fraction(30))


def test_an_avi_of_another_codec_is_a_source_too(tmp_path: Path) -> None:
    write_ucf101(tmp_path, videos_per_class=1)
    path = next((tmp_path / "UCF-101").rglob("*.avi"))
    assert normalize(path, ClipSettings()).shape[1:] == (240, 320, 3)


def test_what_is_no_video_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    for content in (b"", b"hello", np.random.default_rng(0).bytes(5000)):
        path.write_bytes(content)
        assert reason(path) == Reason.SOURCE_UNREADABLE
    assert reason(tmp_path / "nothing.mp4") == Reason.SOURCE_MISSING


def test_a_playlist_that_calls_itself_mp4_opens_no_other_file(source: Path, tmp_path: Path) -> None:
    shutil.copy(source, tmp_path / "secret.mp4")
    path = tmp_path / "x.mp4"
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    assert reason(path) == Reason.SOURCE_UNREADABLE


def test_a_cut_or_damaged_file_is_not_accepted_short(tmp_path: Path) -> None:
    # moov first, so that the header still promises every frame
    import av

    frames = render(sample_scene(4, 1), height=96, width=96, num_frames=60)[0]
    path = tmp_path / "fast.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width = stream.height = 96
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    assert reason(path) in (Reason.FRAMES_MISSING, Reason.SOURCE_UNREADABLE)


def test_limits_on_pixels_time_and_memory_hold(source: Path) -> None:
    assert reason(source, LimitSettings(max_pixels=100 * 100)) in (Reason.LIMIT_EXCEEDED, Reason.SOURCE_UNREADABLE)
    assert reason(source, LimitSettings(max_wall_seconds=0.001)) == Reason.LIMIT_EXCEEDED
    assert reason(source, LimitSettings(max_memory_mib=16)) == Reason.SOURCE_UNREADABLE
