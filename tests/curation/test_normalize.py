import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import ffmpeg
import numpy as np
import pytest
from hostile import NUM_FRAMES, base_frames, mux
from imageio_ffmpeg import get_ffmpeg_exe

from magdiff_curation import limited_exec
from magdiff_curation.clips.video import encode
from magdiff_curation.config import ClipSettings, LimitSettings
from magdiff_curation.normalize import (
    canonical_rate,
    check_decoded_size,
    decode_source,
    probe_source,
)
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
    assert (info.declared_frames, info.duration_seconds) == (60, 2.0)


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
    assert reason(path) == Reason.SOURCE_REFUSED


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


def test_limits_on_pixels_frames_time_and_memory_hold(source: Path) -> None:
    for limits in (
        LimitSettings(max_pixels=100 * 100),
        LimitSettings(max_frames=59),
        LimitSettings(max_wall_seconds=0.001),
        LimitSettings(max_memory_mib=16),
        LimitSettings(max_memory_mib=60),
    ):
        assert reason(source, limits) == Reason.LIMIT_EXCEEDED, limits


def test_the_limit_on_frames_holds_while_decoding_too(source: Path) -> None:
    limits = LimitSettings(max_frames=40)
    info = replace(probe_source(source, limits), declared_frames=None, duration_seconds=1.0, min_frames=1)
    with pytest.raises(ClipRejected) as caught:
        list(decode_source(source, info, ClipSettings(), limits))
    assert caught.value.reason == Reason.LIMIT_EXCEEDED


def test_a_clip_too_large_to_hold_is_too_long() -> None:
    limits = LimitSettings(max_decoded_megabytes=100)
    check_decoded_size(127, 512, 512, limits)
    with pytest.raises(ClipRejected, match="over 100 MB: give spans") as caught:
        check_decoded_size(128, 512, 512, limits)
    assert caught.value.reason == Reason.TOO_LONG


@pytest.mark.parametrize(
    ("suffix", "codec", "declared"),
    [
        ("mp4", "libx264", NUM_FRAMES),
        ("mov", "libx264", NUM_FRAMES),
        ("avi", "mpeg4", NUM_FRAMES),
        ("mkv", "libx264", None),
        ("webm", "libvpx", None),
        ("ts", "libx264", None),
    ],
)
def test_every_container_says_how_many_frames_or_how_long(
    suffix: str, codec: str, declared: int | None, tmp_path: Path
) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(mux(base_frames(0), suffix, codec))
    info = probe_source(path, LimitSettings())
    assert (info.declared_frames, info.frame_rate) == (declared, 24)
    assert info.min_frames == NUM_FRAMES
    assert info.duration_seconds == pytest.approx(NUM_FRAMES / 24, abs=0.05)


@pytest.mark.parametrize("movflags", ["frag_keyframe", "frag_keyframe+empty_moov", "dash+frag_keyframe"])
def test_fragments_count_as_declared(movflags: str, tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    content = mux(base_frames(0), "mp4", "libx264", {"movflags": movflags})
    path.write_bytes(content)
    assert probe_source(path, LimitSettings()).declared_frames == NUM_FRAMES
    assert len(normalize(path, ClipSettings())) == NUM_FRAMES
    path.write_bytes(content[: content.rindex(b"moof") + 400])
    assert reason(path) in (Reason.FRAMES_MISSING, Reason.SOURCE_UNREADABLE)


def test_a_file_whose_edit_list_hides_frames_has_fewer_than_it_declares(tmp_path: Path) -> None:
    whole, trimmed = tmp_path / "whole.mp4", tmp_path / "trimmed.mp4"
    whole.write_bytes(mux(base_frames(0), "mp4", "libx264"))
    # Between two key frames: the first of the copied frames are decoded and not shown.
    ffmpeg.input(str(whole), ss=0.75).output(str(trimmed), c="copy").run(cmd=get_ffmpeg_exe(), quiet=True)
    assert probe_source(trimmed, LimitSettings()).declared_frames == 36
    with pytest.raises(ClipRejected, match="declares 36 frames, 30 decode; where an edit list") as caught:
        normalize(trimmed, ClipSettings())
    assert caught.value.reason == Reason.FRAMES_MISSING


def test_sound_may_outlast_the_pictures(tmp_path: Path) -> None:
    path, long = tmp_path / "x.mp4", tmp_path / "long.mp4"
    path.write_bytes(mux(base_frames(0), "mp4", "libx264"))
    sound = ffmpeg.input("anullsrc=r=16000:cl=mono", f="lavfi", t=6)
    command = ffmpeg.output(ffmpeg.input(str(path)).video, sound, str(long), vcodec="copy", acodec="aac")
    command.run(cmd=get_ffmpeg_exe(), quiet=True)
    info = probe_source(long, LimitSettings())
    assert (info.declared_frames, info.duration_seconds) == (NUM_FRAMES, 2.0)
    assert len(normalize(long, ClipSettings())) == NUM_FRAMES


def test_a_child_may_write_no_file_and_use_no_more_cpu_than_given(tmp_path: Path) -> None:
    def run(code: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-I", limited_exec.__file__, str(2**29), "1", sys.executable, "-I", "-c", code]
        return subprocess.run(command, capture_output=True, timeout=30)

    assert run("print('here')").stdout == b"here\n"
    assert b"File too large" in run(f"open({str(tmp_path / 'x')!r}, 'wb', 0).write(b'x')").stderr
    assert b"Too many open files" in run("x = [open('/dev/null') for _ in range(30)]").stderr
    assert b"MemoryError" in run("bytes(2**30)").stderr
    assert run("while True: pass").returncode == -signal.SIGXCPU
