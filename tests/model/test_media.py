"""Videos and masks as people have them: turned by a phone, named without zeros."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image as PillowImage

from magdiff_model.media import read_masks, read_video


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
    assert read_masks(tmp_path)[:, 0].argmax(axis=1).tolist() == list(range(12))
