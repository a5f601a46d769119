import csv
import json
from pathlib import Path

import av
import numpy as np
from PIL import Image

from magdiff_curation.clips.video import probe
from magdiff_curation.toyworld.benchmarks import write_davis, write_dreambooth, write_msrvtt, write_ucf101


def test_davis_has_loveu_tgves_layout(tmp_path: Path) -> None:
    write_davis(tmp_path, num_videos=2)
    with (tmp_path / "LOVEU-TGVE-2023_Dataset.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "Video name",
        "Our GT caption",
        "Style Change Caption",
        "Object Change Caption",
        "Background Change Caption",
        "Multiple Changes Caption",
    ]
    assert rows[0]["Video name"] == "DAVIS Videos:"
    assert len(rows) == 3
    for row in rows[1:]:
        frames = sorted((tmp_path / "DAVIS_480p" / "480p_frames" / row["Video name"]).iterdir())
        assert [frame.name for frame in frames] == [f"{number:05d}.jpg" for number in range(32)]
        assert Image.open(frames[0]).size == (480, 480)
        masks = sorted((tmp_path / "Annotations" / "480p" / row["Video name"]).iterdir())
        assert [mask.stem for mask in masks] == [frame.stem for frame in frames]
        assert set(np.unique(Image.open(masks[0]))) == {0, 255}
        assert len(set(row.values())) == 6
        video = tmp_path / "DAVIS_480p" / "480p_videos" / f"{row['Video name']}.mp4"
        assert probe(video.read_bytes()).num_frames == 32


def test_ucf101_has_class_folders_and_split_lists(tmp_path: Path) -> None:
    write_ucf101(tmp_path, videos_per_class=1)
    classes = dict(line.split() for line in (tmp_path / "ucfTrainTestlist" / "classInd.txt").read_text().splitlines())
    assert len(classes) >= 8
    train = [line.split() for line in (tmp_path / "ucfTrainTestlist" / "trainlist01.txt").read_text().splitlines()]
    test = (tmp_path / "ucfTrainTestlist" / "testlist01.txt").read_text().splitlines()
    assert all(classes[label] == path.split("/")[0] for path, label in train)
    for path in test:
        with av.open(str(tmp_path / "UCF-101" / path)) as container:
            assert (container.streams.video[0].width, container.streams.video[0].height) == (320, 240)
    assert not set(test) & {path for path, _ in train}


def test_msrvtt_has_twenty_captions_a_video(tmp_path: Path) -> None:
    write_msrvtt(tmp_path, num_videos=3)
    info = json.loads((tmp_path / "test_videodatainfo.json").read_text())
    for video in info["videos"]:
        assert (tmp_path / "TestVideo" / f"{video['video_id']}.mp4").is_file()
        captions = [row["caption"] for row in info["sentences"] if row["video_id"] == video["video_id"]]
        assert len(captions) == 20
        assert len(set(captions)) > 5
        assert video["split"] == "test"


def test_dreambooth_has_subjects_and_a_prompt_file(tmp_path: Path) -> None:
    write_dreambooth(tmp_path, num_subjects=3)
    text = (tmp_path / "dataset" / "prompts_and_classes.txt").read_text()
    table = text.split("subject_name,class\n")[1].split("\n\n")[0].splitlines()
    assert len(table) == 3
    for row in table:
        name, class_name = row.split(",")
        assert name.startswith(class_name)
        assert len(list((tmp_path / "dataset" / name).glob("*.jpg"))) == 5
    assert text.count("format(unique_token, class_token)") == 20
    assert "Live Subject Prompts" in text
