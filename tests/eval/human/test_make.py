import csv
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from eval.scoring.tiny import FAST, moving, write_gif, write_mp4, write_pictures
from PIL import Image as PillowImage

from magdiff_curation.clips.video import decode, encode, probe
from magdiff_eval.human.make import ListedItem, MakeSettings, draw, make, read_items
from magdiff_eval.human.playable import playable_video, shown_picture
from magdiff_eval.human.study import image_file, load_study, video_file
from magdiff_eval.scoring.faults import VideoFault
from magdiff_eval.scoring.videos import list_videos


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def write_items(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "items.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "prompt", "image", "note"])
        for seed, name in enumerate(names):
            image = name.replace("/", "-") + ".png"
            PillowImage.fromarray(moving(seed, 1)[0]).save(folder / image)
            writer.writerow([name, f"a square, {name}", image, "passed over"])
    return folder / "items.csv"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for method, seed in (("ours", 0), ("theirs", 50)):
        for number, name in enumerate(("a", "b", "deep/c")):
            write_mp4(tmp_path / method / f"{name}.mp4", moving(seed + number, 4))
    write_items(tmp_path / "list", ["a", "b", "deep/c"])
    return tmp_path


def settings(folder: Path, **changes: object) -> MakeSettings:
    given = {
        "methods": (f"ours={folder}/ours", f"theirs={folder}/theirs"),
        "items": folder / "list" / "items.csv",
        "output": folder / "study",
        "num_items": 3,
    }
    return MakeSettings(**{**given, **changes})


def test_a_study_holds_each_item_with_a_video_of_every_method_under_random_names(folders: Path) -> None:
    study, left_out = make(settings(folders))
    assert load_study(folders / "study") == study
    assert (study.methods, left_out) == (("ours", "theirs"), [])
    assert [(item.name, item.prompt) for item in study.items] == [
        (name, f"a square, {name}") for name in ("a", "b", "deep/c")
    ]
    files = sorted(path.name for path in (folders / "study" / "media").iterdir())
    ids = {item.id: "png" for item in study.items} | dict.fromkeys(study.videos(), "mp4")
    assert files == sorted(f"{name}.{suffix}" for name, suffix in ids.items())
    assert len(ids) == 9
    assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in ids)
    for name, (item, video) in study.videos().items():
        original = (folders / video.method / f"{item.name}.mp4").read_bytes()
        copied = video_file(folders / "study", name).read_bytes()
        np.testing.assert_array_equal(decode(copied), decode(original))
    assert np.array_equal(PillowImage.open(image_file(folders / "study", study.items[1].id)), moving(1, 1)[0])
    assert not list(folders.glob(".study*"))


def test_the_seed_says_which_items_are_drawn() -> None:
    items = [ListedItem(name=str(number), prompt="p", image=Path("i.png")) for number in range(20)]
    drawn = draw(items, 15, seed=0)
    assert drawn == [item for item in items if item in drawn]
    assert len(drawn) == 15
    assert draw(items, 15, seed=0) == drawn
    assert {item.name for seed in range(30) for item in draw(items, 3, seed)} == {item.name for item in items}


def test_all_that_is_missing_is_told_at_once(folders: Path) -> None:
    (folders / "ours" / "a.mp4").unlink()
    (folders / "theirs" / "a.mp4").unlink()
    (folders / "list" / "deep-c.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 3 items in .* have everything, 3 are wanted") as refused:
        make(settings(folders))
    assert "give --num-items 1" in str(refused.value)
    assert "\n  a lacks a video of ours, a video of theirs" in str(refused.value)
    assert f"\n  deep/c lacks its image {folders / 'list' / 'deep-c.png'}" in str(refused.value)
    assert not (folders / "study").exists()
    study, left_out = make(settings(folders, num_items=0))
    assert [item.name for item in study.items] == ["b"]
    assert [line.split()[0] for line in left_out] == ["a", "deep/c"]


def test_what_cannot_be_shown_is_told_at_once_and_no_study_is_left(folders: Path) -> None:
    (folders / "ours" / "a.mp4").write_bytes(b"no video")
    whole = (folders / "theirs" / "b.mp4").read_bytes()
    (folders / "theirs" / "b.mp4").write_bytes(whole[: len(whole) // 2])
    (folders / "list" / "b.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="3 files cannot be shown") as refused:
        make(settings(folders))
    for name in ("ours/a.mp4", "theirs/b.mp4", "list/b.png"):
        assert str(folders / name) in str(refused.value)
    assert sorted(path.name for path in folders.iterdir()) == ["list", "ours", "theirs"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"methods": ("ours",)}, "'ours' is not NAME=FOLDER"),
        ({"methods": ("a=x", "a=y")}, "names a twice, x and y"),
        ({"methods": ()}, "--methods is empty"),
        ({"methods": ("ours=nowhere",)}, "nowhere is no folder"),
        ({"num_items": -1}, "--num-items -1"),
        ({"num_items": 4}, "3 of 3 items"),
        ({"frame_rate": 0.0}, "--frame-rate 0"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(folders: Path, changes: dict[str, object], told: str) -> None:
    if "methods" in changes and changes["methods"] == ("a=x", "a=y"):
        (folders / "x").mkdir()
    with pytest.raises(ValueError, match=told):
        make(settings(folders, **changes))


def test_a_study_that_is_there_is_left_alone(folders: Path) -> None:
    make(settings(folders, num_items=1, seed=3))
    assert load_study(folders / "study").seed == 3
    before = (folders / "study" / "study.json").read_bytes()
    with pytest.raises(ValueError, match="may hold answers: choose another --output"):
        make(settings(folders))
    assert (folders / "study" / "study.json").read_bytes() == before


def test_items_are_rows_of_csv_or_jsonl_with_images_beside_them(tmp_path: Path) -> None:
    from_csv = read_items(write_items(tmp_path, ["a", "b"]))
    rows = [{"name": item.name, "prompt": item.prompt, "image": item.image.name} for item in from_csv]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_items(tmp_path / "items.jsonl") == from_csv
    assert from_csv[1].image == tmp_path / "b.png"
    (tmp_path / "quoted.csv").write_text('\ufeffname,prompt,image\na,"one, ""two""\nthree",a.png\n', encoding="utf-8")
    assert read_items(tmp_path / "quoted.csv")[0].prompt == 'one, "two"\nthree'


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "i.csv",
            "name,prompt,image\na,,x.png\nb,p\nb,p,x\nb,p,x",
            "3 faults.*row 1 has no prompt.*row 2 has no image.*row 4 is the second one named b",
        ),
        ("i.csv", "title\na", "row 1 has no name and no prompt and no image"),
        ("i.csv", "name,prompt,image\n", "has no rows"),
        ("i.jsonl", '{"name": 7}\n[1]\n', "row 1 has no name and no prompt and no image.*row 2"),
        ("i.jsonl", "{", "cannot be read"),
        ("i.txt", "a", "unknown kind '.txt'"),
        ("nothing.csv", None, "there is no"),
    ],
)
def test_items_that_lack_something_are_told_by_row(tmp_path: Path, name: str, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"(?s){told}"):
        read_items(tmp_path / name)


def test_a_copied_video_keeps_its_pictures_and_tells_nothing_of_its_maker(tmp_path: Path) -> None:
    frames = moving(3, 12)
    with av.open(tmp_path / "a.mp4", "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update({"title": "by MagDiff", "comment": "MagDiff 1.0"})
        video = container.add_stream("libx264", rate=12, options={"bf": "2"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=44100)
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 44100
        container.mux(sound.encode(silence))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    original = (tmp_path / "a.mp4").read_bytes()
    assert b"MagDiff" in original
    assert b"x264" in original
    (found,) = list_videos(tmp_path)
    copied = playable_video(found, 8)
    assert b"MagDiff" not in copied
    assert b"x264" not in copied
    assert b"Lavf" not in copied
    with av.open(str(tmp_path / "a.mp4")) as a:
        before = np.stack([frame.to_ndarray(format="rgb24") for frame in a.decode(video=0)])
    np.testing.assert_array_equal(decode(copied), before)
    (tmp_path / "copied.mp4").write_bytes(copied)
    with av.open(str(tmp_path / "copied.mp4")) as b:
        assert [stream.type for stream in b.streams] == ["video"]
        assert b.streams.video[0].average_rate == 12


def test_what_browsers_do_not_play_is_encoded_as_h264_in_420(tmp_path: Path) -> None:
    frames = moving(4, 6)
    write_gif(tmp_path / "gif.gif", frames, milliseconds=100)
    write_pictures(tmp_path / "pictures", moving(4, 6, height=47, width=63))
    others = {"full.mp4": ("libx264", "yuv444p"), "old.mp4": ("mpeg4", "yuv420p"), "a.webm": ("libvpx-vp9", "yuv420p")}
    for name, (codec, pixels) in others.items():
        with av.open(tmp_path / name, "w") as container:
            stream = container.add_stream(codec, rate=12, options={"crf": "5"})
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, pixels, 4_000_000
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
    rates = {"gif": 10, "pictures": 5, "full": 12, "old": 12, "a": 12}
    for video in list_videos(tmp_path):
        made = playable_video(video, 5)
        info = probe(made)
        size = (62, 46) if video.is_folder else (64, 48)
        assert (info.width, info.height, info.num_frames) == (*size, 6)
        assert info.frame_rate == Fraction(rates[video.name])
        expected = moving(4, 6, height=47, width=63)[:, :46, :62] if video.is_folder else frames
        assert psnr(decode(made), expected) > 27
        (tmp_path / "made").write_bytes(made)
        with av.open(str(tmp_path / "made"), format="mov") as container:
            assert container.streams.video[0].codec_context.name == "h264"
            assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_a_turned_video_is_encoded_as_players_show_it(tmp_path: Path) -> None:
    frames = moving(5, 4)
    (tmp_path / "plain.mp4").write_bytes(encode(frames, 8, FAST))
    content = bytearray((tmp_path / "plain.mp4").read_bytes())
    upright = b"".join(n.to_bytes(4, "big", signed=True) for n in (65536, 0, 0, 0, 65536, 0, 0, 0, 2**30))
    turned = b"".join(n.to_bytes(4, "big", signed=True) for n in (0, 65536, 0, -65536, 0, 0, 0, 0, 2**30))
    at = content.index(upright, content.index(b"tkhd"))
    content[at : at + 36] = turned
    (tmp_path / "plain.mp4").write_bytes(content)
    (video,) = list_videos(tmp_path)
    made = decode(playable_video(video, 8))
    assert made.shape == (4, 64, 48, 3)
    assert psnr(made, np.rot90(frames, -1, axes=(1, 2))) > 27


def test_a_broken_video_is_told_by_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    (video,) = list_videos(tmp_path)
    with pytest.raises(VideoFault):
        playable_video(video, 8)


def test_a_picture_is_upright_small_and_nothing_but_pixels(tmp_path: Path) -> None:
    picture = PillowImage.new("RGB", (3000, 1500), (200, 30, 30))
    marks = PillowImage.Exif()
    marks[0x0112], marks[0x010E] = 6, "made by MagDiff"  # turn it by a quarter
    picture.save(tmp_path / "a.jpg", exif=marks)
    content = shown_picture(tmp_path / "a.jpg")
    (tmp_path / "shown.png").write_bytes(content)
    shown = PillowImage.open(tmp_path / "shown.png")
    assert shown.size == (512, 1024)
    assert not shown.getexif()
    assert b"MagDiff" not in content
