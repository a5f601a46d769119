"""The four official folder layouts with tiny files, for the tests of their readers: a few milliseconds each."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image as PillowImage

CAPTIONS = {"Style Change Caption": "style", "Object Change Caption": "object"}
CAPTIONS |= {"Background Change Caption": "background", "Multiple Changes Caption": "multiple"}
COLUMNS = ["Video name", "Our GT caption", *CAPTIONS]


def picture(path: Path, size: tuple[int, int] = (12, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.new("RGB", size).save(path)
    return path


def text(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def davis_row(name: str) -> dict[str, str]:
    edits = {column: f"a {name}, {edit}, again" for column, edit in CAPTIONS.items()}
    return {"Video name": name, "Our GT caption": f"a {name}", **edits}


def davis(
    data: Path, names: Sequence[str] = ("bear", "gold-fish"), num_frames: int = 10, masked: bool = True, end: str = "\n"
) -> Path:
    """Write a LOVEU-TGVE folder and return its table's path; `end` is how the table's lines end."""
    table = data / "LOVEU-TGVE-2023_Dataset.csv"
    data.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator=end)
        writer.writeheader()
        writer.writerow({"Video name": "DAVIS Videos:"})
        writer.writerows(map(davis_row, names))
    for name in names:
        for number in range(num_frames):
            picture(frames(data, name) / f"{number:05d}.jpg")
            if masked:
                picture(masks(data, name) / f"{number:05d}.png")
    return table


def frames(data: Path, name: str) -> Path:
    return data / "DAVIS_480p" / "480p_frames" / name


def masks(data: Path, name: str) -> Path:
    return data / "Annotations" / "480p" / name


def ucf101(data: Path, classes: dict[str, int], end: str = "\n") -> Path:
    """Write a UCF-101 folder of classes with so many test videos and a train video each; return its lists' folder."""
    lists, tests = data / "ucfTrainTestlist", []
    for name, count in classes.items():
        for clip in range(1, count + 1):
            tests.append(f"{name}/v_{name}_g01_c{clip:02d}.avi")
            text(data / "UCF-101" / tests[-1], "video")
        text(data / "UCF-101" / name / f"v_{name}_g08_c01.avi", "video")
    text(lists / "classInd.txt", "".join(f"{number} {name}{end}" for number, name in enumerate(classes, start=1)))
    text(lists / "testlist01.txt", "".join(f"{line}{end}" for line in tests))
    return lists


def msrvtt_table(names: Sequence[str], num_captions: int = 20) -> dict:
    videos = [{"video_id": name, "category": 8, "split": "test", "id": int(name[5:])} for name in names]
    captions = [(name, number) for name in names for number in range(num_captions)]
    sentences = [
        {"video_id": name, "caption": f"{name} caption {number}", "sen_id": index}
        for index, (name, number) in enumerate(captions)
    ]
    return {"info": {}, "videos": videos, "sentences": sentences}


def msrvtt(data: Path, names: Sequence[str] = ("video7010", "video7011", "video7012")) -> Path:
    """Write an MSR-VTT folder and return its table's path."""
    for name in names:
        text(data / "TestVideo" / f"{name}.mp4", "video")
    return text(data / "test_videodatainfo.json", json.dumps(msrvtt_table(names)))


def dreambooth(data: Path, subjects: dict[str, str], num_pictures: int = 3, prompts: Sequence[str] = ()) -> Path:
    """Write a DreamBooth folder of subjects and their classes; return its file of prompts."""
    for name in subjects:
        for number in range(num_pictures):
            picture(data / "dataset" / name / f"{number:02d}.jpg")
    prompts = prompts or [f"a {{0}} {{1}} in place {number}" for number in range(25)]
    listing = "prompt_list = [\n" + ",\n".join(expression(prompt) for prompt in prompts) + "\n]\n"
    live = listing.replace("in place", "wearing hat")
    rows = "\n".join(f"{name},{class_name}" for name, class_name in subjects.items())
    content = f"Classes\n\nsubject_name,class\n{rows}\n\nPrompts\n\nObject Prompts\n\n{listing}\n"
    return text(data / "dataset" / "prompts_and_classes.txt", f"{content}Live Subject Prompts\n\n{live}")


def expression(prompt: str) -> str:
    return f"'{prompt}'.format(unique_token, class_token)"
