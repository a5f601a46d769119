"""Videos as mp4, GIF and folders of PNG frames."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from magdiff_curation.clips.video import decode, probe
from magdiff_model.outputs import check_output, gif, write_video
from magdiff_model.sidecar import write_sidecar


@pytest.fixture
def frames(truth) -> np.ndarray:
    return truth[0][:5]


def test_png_frames_are_exact_and_in_order(tmp_path: Path, frames) -> None:
    write_video(tmp_path / "video", frames, 8)
    files = sorted((tmp_path / "video").iterdir())
    assert [file.name for file in files] == ["0000.png", "0001.png", "0002.png", "0003.png", "0004.png"]
    assert np.array_equal(np.stack([np.asarray(PillowImage.open(file)) for file in files]), frames)


def test_a_folder_takes_the_place_of_an_earlier_one_whole(tmp_path: Path, frames) -> None:
    write_video(tmp_path / "video", frames, 8)
    write_video(tmp_path / "video", frames[:2], 8)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["0000.png", "0001.png", "video"]


def test_a_folder_that_cannot_be_finished_leaves_the_earlier_one(tmp_path: Path, frames, monkeypatch) -> None:
    write_video(tmp_path / "video", frames, 8)

    def fails(*_):
        raise OSError("no space left")

    monkeypatch.setattr(PillowImage.Image, "save", fails)
    with pytest.raises(OSError, match="no space left"):
        write_video(tmp_path / "video", frames[:2], 8)
    assert len(list(tmp_path.rglob("*"))) == 6


def test_a_gif_plays_for_ever_at_the_right_speed_in_nearly_the_right_colours(frames) -> None:
    with PillowImage.open(io.BytesIO(gif(frames, 8))) as picture:
        assert picture.n_frames == 5
        assert picture.info["loop"] == 0
        durations, errors = [], []
        for index in range(5):
            picture.seek(index)
            durations.append(picture.info["duration"])
            errors.append(np.abs(np.asarray(picture.convert("RGB")).astype(int) - frames[index]).mean())
    assert sum(durations) == 620  # 5/8 s in hundredths
    assert set(durations) <= {120, 130}
    assert max(errors) < 1


def test_an_mp4_has_the_frames_and_the_rate(tmp_path: Path, frames) -> None:
    write_video(tmp_path / "video.mp4", frames, 12.5)
    video = (tmp_path / "video.mp4").read_bytes()
    assert probe(video).frame_rate == 12.5
    assert decode(video).shape == frames.shape


def test_odd_sides_are_no_mp4_but_a_gif_or_frames(tmp_path: Path, frames) -> None:
    odd = frames[:, :127, :159]
    with pytest.raises(ValueError, match=r"159x127 px: 4:2:0 needs even sides; write a .gif or a folder"):
        write_video(tmp_path / "video.mp4", odd, 8)
    write_video(tmp_path / "video.gif", odd, 8)
    write_video(tmp_path / "video", odd, 8)
    with PillowImage.open(tmp_path / "video.gif") as picture:
        assert picture.size == (159, 127)


def test_only_folders_that_the_command_wrote_are_replaced(tmp_path: Path, frames) -> None:
    (tmp_path / "mine").mkdir()
    check_output(tmp_path / "mine")  # empty
    (tmp_path / "mine" / "0000.png").write_text("precious")
    with pytest.raises(ValueError, match="was not written by this command"):
        check_output(tmp_path / "mine")
    write_video(tmp_path / "made", frames, 8)
    write_sidecar(tmp_path / "made", {}, {})
    check_output(tmp_path / "made")


def test_a_name_that_no_video_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not video\.avi"):
        check_output(tmp_path / "video.avi")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        check_output(tmp_path / "folder.mp4")
