import hashlib
import json
import random
from pathlib import Path

import pytest
from eval.layouts.small import msrvtt, msrvtt_table, text

from magdiff_eval.layouts.item import check
from magdiff_eval.layouts.msrvtt import CATEGORIES, list_msrvtt

NAMES = [f"video{number}" for number in range(7010, 7040)]


def test_each_test_video_gives_one_with_one_of_its_captions(tmp_path: Path) -> None:
    msrvtt(tmp_path, NAMES)
    listing = list_msrvtt(tmp_path)
    check(listing)
    assert [item.name for item in listing.items] == NAMES
    assert all(item.prompt.startswith(f"{item.name} caption ") for item in listing.items)
    assert len({item.prompt.split()[-1] for item in listing.items}) > 8  # of 20, by chance about 16
    item = listing.items[4]
    assert (item.seed, item.group, item.label, item.task) == (4, "animation", "", "generate")
    assert item.source == tmp_path / "TestVideo" / "video7014.mp4"


def test_the_seed_chooses_captions_and_nothing_else_does(tmp_path: Path) -> None:
    table = msrvtt(tmp_path, NAMES)
    first = {item.name: item.prompt for item in list_msrvtt(tmp_path).items}
    other = {item.name: item.prompt for item in list_msrvtt(tmp_path, caption_seed=1).items}
    assert sum(first[name] == other[name] for name in NAMES) < 8  # of 30, by chance 1.5
    content = json.loads(table.read_text())
    random.Random(0).shuffle(content["sentences"])
    content["sentences"] = [line for line in content["sentences"] if line["video_id"] in NAMES[10:]]
    content["videos"] = content["videos"][::-1][:20]
    table.write_text(json.dumps(content))
    fewer = list_msrvtt(tmp_path)
    check(fewer)
    assert [item.name for item in fewer.items] == NAMES[10:]
    assert all(item.prompt == first[item.name] for item in fewer.items)


def test_the_choice_of_captions_is_what_the_stamp_says(tmp_path: Path) -> None:
    msrvtt(tmp_path)
    listing = list_msrvtt(tmp_path, caption_seed=5)
    number = int(hashlib.sha256(b"5:video7011").hexdigest()[:16], 16) % 20
    assert listing.items[1].prompt == f"video7011 caption {number}"
    assert listing.stamp["captions"]["seed"] == 5
    assert listing.stamp["captions"]["table"]["name"] == "test_videodatainfo.json"
    assert listing.stamp["items"] != list_msrvtt(tmp_path, caption_seed=6).stamp["items"]


@pytest.mark.parametrize(
    ("table", "videos"),
    [
        ("MSRVTT_data.json", "videos/all"),
        ("msrvtt_data/MSRVTT_data.json", "MSRVTT_Videos"),
        ("videodatainfo_2017.json", "videos"),
        ("test_videodatainfo.json", "test_videos/TestVideo"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_tables_of_all_videos_and_other_folders_are_taken(tmp_path: Path, table: str, videos: str, split: str) -> None:
    content = msrvtt_table(["video0", "video7011", "video7010"])
    content["videos"][0]["split"] = "train"
    content["videos"][1]["split"] = content["videos"][2]["split"] = split
    text(tmp_path / table, json.dumps(content))
    for number in (0, 7010, 7011):
        text(tmp_path / videos / f"video{number}.mp4", "video")
    listing = list_msrvtt(tmp_path)
    check(listing)
    assert [(item.name, item.seed) for item in listing.items] == [("video7010", 0), ("video7011", 1)]
    assert listing.stamp["split"]["rule"] == ("split test" if split == "test" else "numbers 7010 to 9999")
    assert any("1 files are no test videos" in note for note in listing.notes)


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    table = msrvtt(tmp_path, NAMES[:5])
    content = json.loads(table.read_text())
    (tmp_path / "TestVideo" / "video7010.mp4").unlink()
    (tmp_path / "TestVideo" / "video7011.mp4").write_bytes(b"")
    content["videos"] += [{"video_id": "../x", "split": "test"}, content["videos"][2], {"split": "test"}, 7]
    sentences = [line for line in content["sentences"] if line["video_id"] != "video7013"]
    sentences[0]["caption"] = " "
    sentences += [
        {"video_id": "video1", "caption": "a", "sen_id": 900},
        {"video_id": "video7014", "sen_id": 901},
        {"video_id": "video7014", "caption": "a \ud83d", "sen_id": 902},
    ]
    table.write_text(json.dumps(content | {"sentences": sentences}))
    expected = [
        "there is no " + str(tmp_path / "TestVideo" / "video7010.mp4"),
        "video7011.mp4 is empty",
        "videos[5] has the video_id '../x' (it has a slash in it)",
        "videos[6]: video7012 is there already",
        "videos[7] has the video_id None",
        "videos[8] has the video_id None",
        "video7013 has no caption",
        "sentences[0], of video7010, is empty",
        "sentences[80] is of video1, which is no video of the file",
        "sentences[81] lacks a video_id, caption or sen_id",
        "sentences[82], of video7014, is no Unicode text",
    ]
    listing = list_msrvtt(tmp_path)
    for fault in expected:
        assert sum(fault in found for found in listing.faults) == 1, (fault, listing.faults)
    with pytest.raises(ValueError, match=f"msrvtt has {len(expected)} faults"):
        check(listing)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"videos": [', "is no JSON (Expecting value: line 1"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "has no lists 'videos' and 'sentences'"),
        (b'{"videos": {}, "sentences": []}', "has no lists 'videos' and 'sentences'"),
        (b'{"videos": [], "sentences": []}', "has no test video"),
        (b"", "is empty"),
        (b'{"videos": [], \n"\xff": []}', "line 2: there are bytes that are no UTF-8"),
    ],
)
def test_a_table_that_is_none_is_a_fault(tmp_path: Path, content: bytes, fault: str) -> None:
    msrvtt(tmp_path)
    text(tmp_path / "test_videodatainfo.json", content)
    listing = list_msrvtt(tmp_path)
    assert fault in listing.faults[0]
    assert listing.items == ()


def test_a_missing_folder_is_one_fault_and_not_one_for_each_video(tmp_path: Path) -> None:
    assert "benchmark --name msrvtt" in list_msrvtt(tmp_path / "nowhere").faults[0]
    table = msrvtt(tmp_path)
    (tmp_path / "TestVideo").rename(tmp_path / "elsewhere")
    faults = list_msrvtt(tmp_path).faults
    assert len(faults) == 1
    assert "there is no folder " + str(tmp_path / "TestVideo") in faults[0]
    table.unlink()
    assert len(list_msrvtt(tmp_path).faults) == 2


def test_videos_with_other_than_twenty_captions_are_noted(tmp_path: Path) -> None:
    table = msrvtt(tmp_path)
    content = json.loads(table.read_text())
    table.write_text(json.dumps(content | {"sentences": content["sentences"][1:]}))
    listing = list_msrvtt(tmp_path)
    check(listing)
    assert "1 videos have not the 20 captions of the set: video7010" in listing.notes


def test_categories_are_the_sets_twenty_and_others_are_called_by_number(tmp_path: Path) -> None:
    assert len(set(CATEGORIES)) == 20
    table = msrvtt(tmp_path, ["video7010", "video7011"])
    content = json.loads(table.read_text())
    content["videos"][0]["category"] = 20
    del content["videos"][1]["category"]
    table.write_text(json.dumps(content))
    assert [item.group for item in list_msrvtt(tmp_path).items] == ["category 20", "category None"]
