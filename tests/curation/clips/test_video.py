import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from magdiff_curation.clips.video import CodecSettings, decode, decode_some, encode, probe
from magdiff_curation.toyworld.scene import render, sample_scene


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return render(sample_scene(1, 0), height=96, width=128, num_frames=40)[0]


def test_encoding_twice_gives_the_same_bytes_and_nearly_the_same_pixels(frames: np.ndarray) -> None:
    video = encode(frames, Fraction(30000, 1001))
    assert video == encode(frames, Fraction(30000, 1001))
    assert np.abs(decode(video).astype(int) - frames).mean() < 4


def test_encoding_small_frames_many_times_gives_one_file() -> None:
    # With x264's B-frames this clip came out in up to seven versions.
    small = render(sample_scene(2, 1), height=64, width=64, num_frames=8)[0]
    assert len({encode(small, 8) for _ in range(40)}) == 1


@pytest.mark.slow
def test_encoding_in_many_processes_gives_one_file() -> None:
    # With macroblock-tree rate control one in a hundred of these came out otherwise, by what lay in memory before.
    code = (
        "import hashlib, os, random\nused = []\nfrom magdiff_curation.clips.video import encode\n"
        "from magdiff_curation.toyworld.scene import render, sample_scene\n"
        "for seed in range(40):\n"
        "    used.append(os.urandom(random.randrange(300_000)))\n"
        "    frames = render(sample_scene(seed, 0), height=64, width=96, num_frames=16)[0]\n"
        "    print(hashlib.sha256(encode(frames, 8)).hexdigest())\n"
    )
    found = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(15)]
    assert found[0].count(b"\n") == 40
    assert set(found) == {found[0]}


def test_probe_tells_what_was_encoded(frames: np.ndarray) -> None:
    info = probe(encode(frames, 12))
    assert (info.width, info.height, info.num_frames, info.frame_rate) == (128, 96, 40, 12)


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (15, 17), (16, 40), (39, 40)])
def test_a_range_decodes_to_the_same_frames_as_the_whole(frames: np.ndarray, start: int, stop: int) -> None:
    video = encode(frames, 25)
    assert np.array_equal(decode(video, start, stop), decode(video)[start:stop])


@pytest.mark.parametrize("numbers", [[0], [3, 7, 39], [16, 20, 24, 28], [39]])
def test_some_frames_decode_to_the_same_as_in_the_whole(frames: np.ndarray, numbers: list[int]) -> None:
    video = encode(frames, 25)
    assert np.array_equal(decode_some(video, numbers), decode(video)[numbers])
    with pytest.raises(ValueError, match="40 frames"):
        decode_some(video, [*numbers, 40])


def test_groups_of_pictures_are_closed_and_of_the_set_length(frames: np.ndarray) -> None:
    import io

    import av

    with av.open(io.BytesIO(encode(frames, 25, CodecSettings(group_of_pictures=8)))) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert [index for index, key in enumerate(keys) if key] == [0, 8, 16, 24, 32]


def test_unusable_input_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="even"):
        encode(frames[:, :95], 8)
    with pytest.raises(ValueError, match="no frames"):
        encode([], 8)
    with pytest.raises(ValueError, match="first was"):
        encode([frames[0], frames[0][:64]], 8)
    with pytest.raises(ValueError, match="mp4"):
        decode(b"ffconcat version 1.0\nfile /etc/passwd\n")
    with pytest.raises(ValueError, match="40 frames"):
        decode(encode(frames, 8), 30, 41)
