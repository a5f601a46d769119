import os
from pathlib import Path

import numpy as np
import pytest
from eval.scoring.tiny import moving, write_gif, write_mp4, write_pictures
from hostile import NUM_FRAMES, base_mp4, mux, patched
from PIL import Image as PillowImage

from magdiff_eval.scoring.faults import Expectations, Facts, Reason, VideoFault, commonest_size, judge
from magdiff_eval.scoring.videos import list_videos, read


def fault_of(path: Path) -> tuple[Reason, str]:
    (video,) = [video for video in list_videos(path.parent) if video.path == path]
    with pytest.raises(VideoFault) as stopped:
        read(video)
    return stopped.value.fault.reason, stopped.value.fault.detail


def test_videos_are_files_and_folders_of_numbered_pictures_named_by_their_paths(tmp_path: Path) -> None:
    write_mp4(tmp_path / "b.mp4", moving(0, 2))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.GIF").write_bytes(b"")
    write_pictures(tmp_path / "bear" / "style", moving(1, 2), "jpg")
    (tmp_path / "bear" / "poster.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / ".hidden.mp4").write_bytes(b"")
    found = list_videos(tmp_path)
    assert [(video.name, video.is_folder) for video in found] == [
        ("b", False),
        ("bear/style", True),
        ("deep/er/a", False),
    ]


@pytest.mark.parametrize("second", ["a.avi", "a"])
def test_two_videos_of_one_name_are_refused_with_both_paths(tmp_path: Path, second: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    if second == "a":
        write_pictures(tmp_path / "a", moving(0, 2))
    else:
        (tmp_path / second).write_bytes(b"")
    with pytest.raises(ValueError, match="1 names are given twice") as refused:
        list_videos(tmp_path)
    assert str(tmp_path / "a.mp4") in str(refused.value)
    assert str(tmp_path / second) in str(refused.value)


def test_a_folder_without_a_video_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(ValueError, match=f"{tmp_path} holds no video: need files .* or sub-folders"):
        list_videos(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        list_videos(tmp_path / "nowhere")


def test_a_folder_of_frames_itself_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, moving(0, 2))
    with pytest.raises(ValueError, match="give the folder above it"):
        list_videos(tmp_path)


def test_a_link_back_to_a_folder_above_is_refused(tmp_path: Path) -> None:
    write_mp4(tmp_path / "in" / "a.mp4", moving(0, 2))
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="remove the link"):
        list_videos(tmp_path)


def test_pictures_are_read_exactly_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    frames = moving(0, 12, height=33, width=21)
    (tmp_path / "a").mkdir()
    for number, frame in enumerate(frames, 1):
        PillowImage.fromarray(frame).save(tmp_path / "a" / f"frame_{number}.png")
    found, facts = read(list_videos(tmp_path)[0])
    np.testing.assert_array_equal(found, frames)
    assert facts == Facts(num_frames=12, width=21, height=33, frame_rate=None, kind="frames")


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("avi", "mpeg4"), ("webm", "libvpx"), ("mov", "mjpeg")]
)
def test_files_are_read_whole_at_their_own_size_and_rate(tmp_path: Path, suffix: str, codec: str) -> None:
    frames = moving(3, 12, height=540, width=720)
    (tmp_path / f"a.{suffix}").write_bytes(mux(frames, suffix, codec))
    found, facts = read(list_videos(tmp_path)[0])
    assert facts == Facts(num_frames=12, width=720, height=540, frame_rate=24, kind=suffix)
    assert np.abs(found.astype(int) - frames).mean() < 8


def test_a_gif_is_read_picture_by_picture(tmp_path: Path) -> None:
    frames = np.repeat(np.arange(10, 250, 24, dtype=np.uint8)[:, None, None, None], 3, axis=-1) + np.zeros(
        (1, 31, 47, 1), np.uint8
    )
    write_gif(tmp_path / "a.gif", frames, milliseconds=120)
    found, facts = read(list_videos(tmp_path)[0])
    np.testing.assert_array_equal(found, frames)
    assert (facts.width, facts.height, facts.kind) == (47, 31, "gif")
    assert facts.frame_rate == pytest.approx(1 / 0.12)
    assert judge(facts, Expectations(frame_rate=8)) is None  # 12.5 hundredths of a second, which a GIF cannot hold
    assert judge(facts, Expectations(frame_rate=10)) is not None


def test_what_is_damaged_or_no_video_has_its_reason(tmp_path: Path) -> None:
    content = base_mp4(0, faststart=True)
    made = {
        "empty.mp4": (b"", Reason.UNREADABLE),
        "text.mp4": (b"no video\n" * 99, Reason.UNREADABLE),
        "promising_more.mp4": (patched(content, b"stts", 8, NUM_FRAMES + 5), Reason.FRAMES_MISSING),
        "list.mp4": (b"ffconcat version 1.0\nfile odd.mp4\n", Reason.REFUSED),
        "really.gif": (content, Reason.REFUSED),
        "picture.avi": (mux(moving(0, 8), "gif", "gif"), Reason.REFUSED),
        "odd.mp4": (mux(moving(0, 8, height=49, width=65), "mp4", "mpeg4"), Reason.ODD_SIZE),
    }
    for name, (data, _) in made.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "dead.mp4").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "other_pipe.gif")
    for name, (_, reason) in made.items():
        assert fault_of(tmp_path / name)[0] == reason, name
    assert "crop or pad" in fault_of(tmp_path / "odd.mp4")[1]
    for name in ("dead.mp4", "pipe.mp4", "other_pipe.gif"):
        assert fault_of(tmp_path / name)[0] in (Reason.UNREADABLE, Reason.REFUSED)


def test_a_gif_that_is_cut_short_is_a_fault(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", moving(0, 10))
    content = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(content[: len(content) // 2])
    assert fault_of(tmp_path / "a.gif")[0] in (Reason.FRAMES_MISSING, Reason.UNREADABLE)


def test_folders_of_pictures_that_do_not_fit_have_their_reasons(tmp_path: Path) -> None:
    frames = moving(0, 6)
    for name in ("gap", "twin", "series", "sizes", "broken", "thumb", "strip"):
        write_pictures(tmp_path / name, frames)
    (tmp_path / "gap" / "00002.png").unlink()
    (tmp_path / "twin" / "3.jpg").write_bytes((tmp_path / "twin" / "00003.png").read_bytes())
    (tmp_path / "series" / "00004.png").rename(tmp_path / "series" / "left_4.png")
    PillowImage.fromarray(frames[0, :20]).save(tmp_path / "sizes" / "00003.png")
    (tmp_path / "broken" / "00003.png").write_bytes(b"\x89PNG")
    (tmp_path / "thumb" / "thumb.png").write_bytes(b"")
    for path in (tmp_path / "strip").iterdir():
        PillowImage.fromarray(frames[0, :2]).save(path)
    found = {name: fault_of(tmp_path / name) for name in ("gap", "twin", "series", "sizes", "broken", "thumb", "strip")}
    assert {name: reason for name, (reason, _) in found.items()} == {
        "gap": Reason.FRAMES_MISSING,
        "twin": Reason.REFUSED,
        "series": Reason.REFUSED,
        "sizes": Reason.REFUSED,
        "broken": Reason.UNREADABLE,
        "thumb": Reason.REFUSED,
        "strip": Reason.REFUSED,
    }
    assert found["gap"][1] == "1 frames are missing, the first is number 2"
    assert found["sizes"][1] == "00003.png is 64x20 px, the first 64x48"


def test_facts_are_judged_by_length_rate_and_size() -> None:
    facts = Facts(num_frames=16, width=64, height=48, frame_rate=24000 / 1001, kind="mp4")
    assert judge(facts, Expectations()) is None
    assert judge(facts, Expectations(frame_rate=23.976, size_px=(64, 48), min_frames=16)) is None
    found = [
        judge(facts, expected)
        for expected in (Expectations(min_frames=17), Expectations(frame_rate=24), Expectations(size_px=(48, 64)))
    ]
    assert [fault and fault.reason for fault in found] == [
        Reason.TOO_SHORT,
        Reason.FRAME_RATE_DIFFERS,
        Reason.SIZE_DIFFERS,
    ]
    one = Facts(num_frames=1, width=64, height=48, frame_rate=None, kind="frames")
    assert judge(one, Expectations(min_frames=1)).reason == Reason.ONE_FRAME  # type: ignore[union-attr]
    assert (
        judge(Facts(num_frames=2, width=4, height=4, frame_rate=None, kind="frames"), Expectations(frame_rate=8))
        is None
    )


def test_the_commonest_size_is_the_smallest_of_equally_common_ones() -> None:
    sizes = [(64, 48), (32, 32), (64, 48), (32, 32), (8, 8)]
    videos = [Facts(num_frames=2, width=w, height=h, frame_rate=None, kind="frames") for w, h in sizes]
    assert commonest_size(videos) == (32, 32)
    assert commonest_size([]) is None
