"""Videos and masks as people have them: turned by a phone, named without zeros, saved as JPEG, partly transparent."""

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image as PillowImage

from magdiff_model.edit import Edit
from magdiff_model.media import read_mask, read_masks, read_video
from magdiff_model.subject_finding import SubjectFinder


def test_a_turned_videos_size_is_the_one_that_is_seen(media: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.mp4"
    turn = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", "90"]
    subprocess.run([*turn, "-i", str(media / "video.mp4"), "-c", "copy", str(turned)], check=True)
    video = read_video(turned, 3)
    assert video.frames.shape == (3, 160, 128, 3)
    assert video.source_size == (128, 160)
    assert read_video(media / "video.mp4", 3).source_size == (160, 128)


def test_masks_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in range(12):
        picture = np.zeros((4, 12), np.uint8)
        picture[0, number] = 255
        PillowImage.fromarray(picture).save(tmp_path / f"mask{number}.{'PNG' if number % 2 else 'png'}")
    (tmp_path / "._mask0.png").write_bytes(b"a file manager's")
    assert read_masks(tmp_path, range(12))[:, 0].argmax(axis=1).tolist() == list(range(12))


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_mask_saved_with_loss_is_what_was_painted(tmp_path: Path, truth, suffix: str) -> None:
    painted = truth[1][0]
    PillowImage.fromarray(painted.astype(np.uint8) * 255).save(tmp_path / f"mask.{suffix}", quality=30)
    stored = np.asarray(PillowImage.open(tmp_path / f"mask.{suffix}").convert("L"))
    assert len(np.unique(stored)) > 2
    mask = read_mask(tmp_path / f"mask.{suffix}")
    assert (mask != painted).mean() < 0.002
    assert (stored[~painted] > 0).mean() > 0.005  # what "not black" would have taken for the subject


def test_masks_of_numbers_and_of_colours_are_where_they_are_not_black(tmp_path: Path) -> None:
    numbers = np.array([[0, 1, 2, 0]], np.uint8)
    PillowImage.fromarray(numbers).save(tmp_path / "numbers.png")
    colours = PillowImage.fromarray(numbers, "P")
    colours.putpalette([0, 0, 0, 128, 0, 0, 0, 64, 0])
    colours.save(tmp_path / "colours.png")
    for name in ("numbers", "colours"):
        assert read_mask(tmp_path / f"{name}.png").tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_alpha_channel_may_be_there_as_long_as_nothing_is_transparent(tmp_path: Path, mode: str) -> None:
    picture = PillowImage.fromarray(np.array([[0, 255]], np.uint8)).convert(mode)
    picture.save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[False, True]]
    picture.putalpha(PillowImage.fromarray(np.array([[0, 255]], np.uint8)))
    picture.save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=r"mask.png is transparent in places, .*: save it without an alpha channel"):
        read_mask(tmp_path / "mask.png")


def test_only_the_masks_of_the_chosen_frames_are_read(media: Path, tmp_path: Path, truth) -> None:
    chosen = [0, 3, 6]
    for number in range(9):
        source = media / "masks" / f"{number:03d}.png"
        content = source.read_bytes() if number in chosen else b"damaged"
        (tmp_path / source.name).write_bytes(content)
    assert np.array_equal(read_masks(tmp_path, chosen), truth[1][chosen])
    run_lengths = json.loads((media / "video.masks.json").read_bytes())
    for number in range(len(run_lengths)):
        if number not in chosen:
            run_lengths[number]["counts"] = "damaged"
    shard = tmp_path / "video.masks.json"
    shard.write_text(json.dumps(run_lengths))
    assert np.array_equal(read_masks(shard, chosen), truth[1][chosen])
    with pytest.raises(ValueError, match=r"video.masks.json is no .masks.json as shards hold it"):
        read_masks(shard, [1])


def test_an_edit_reads_no_mask_of_a_frame_that_it_does_not_take(media: Path, tmp_path: Path, truth) -> None:
    for number in range(16):
        content = b"damaged" if number % 2 else (media / "masks" / f"{number:03d}.png").read_bytes()
        (tmp_path / f"{number}.png").write_bytes(content)
    command = Edit(checkpoint="c", video=media / "video.mp4", masks=tmp_path)
    assert np.array_equal(command.shown(SubjectFinder(), 8, 64).masks, truth[1][:16:2])


def test_a_folder_without_pngs_may_hold_jpegs(media: Path, tmp_path: Path, truth) -> None:
    for number in (0, 1):
        PillowImage.open(media / "masks" / f"{number:03d}.png").save(tmp_path / f"{number}.jpg", quality=95)
    assert (read_masks(tmp_path, [0, 1]) != truth[1][:2]).mean() < 0.002
    PillowImage.new("L", (160, 128)).save(tmp_path / "0.png")
    with pytest.raises(ValueError, match="has 1 masks for 2 frames"):
        read_masks(tmp_path, [0, 1])


def test_something_else_than_a_list_of_run_lengths_is_told(tmp_path: Path) -> None:
    for content in ("{}", "[1]", "no"):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(ValueError, match=r"a.json is no .masks.json as shards hold it"):
            read_masks(tmp_path / "a.json", [0])
