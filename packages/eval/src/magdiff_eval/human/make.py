"""A study out of folders: the items that every method has a video of, or as many of them as are asked for.

What is missing is told all at once. A study is made beside its place and moved there when it is whole; one that is
there already is left alone, since it may have answers.
"""

from __future__ import annotations

import csv
import io
import json
import random
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from magdiff_curation.clips.atomic import write_atomic
from magdiff_eval.human.playable import playable_video, shown_picture
from magdiff_eval.human.study import Study, StudyItem, StudyVideo, image_file, video_file
from magdiff_eval.scoring.faults import VideoFault
from magdiff_eval.scoring.videos import VideoPath, list_videos

_COLUMNS = ("name", "prompt", "image")


@dataclass(frozen=True, kw_only=True)
class MakeSettings:
    """Make a study out of folders of videos."""

    methods: tuple[str, ...]
    """NAME=FOLDER for each method. A video's name is its path below the folder, without the suffix."""
    items: Path
    """A csv with the columns name, prompt and image, or a jsonl with these keys; images are relative to it."""
    output: Path
    """The study's folder, which must not exist yet."""
    num_items: int = 15
    """How many items to draw; the paper has 15. 0 takes all that have everything."""
    seed: int = 0
    """Which are drawn, where there are more."""
    frame_rate: float = 8.0
    """Frames per second of videos that are folders of pictures."""


@dataclass(frozen=True, kw_only=True)
class ListedItem:
    """A row of the items file."""

    name: str
    prompt: str
    image: Path


def make(settings: MakeSettings) -> tuple[Study, list[str]]:
    """Write a study and return it, with a sentence on each item that could not be taken.

    Raises:
        ValueError: fewer items than asked for have everything, videos that cannot be played, or the output exists.
    """
    if settings.output.exists():
        raise ValueError(f"{settings.output} exists, and may hold answers: choose another --output, or move it away")
    if settings.num_items < 0:
        raise ValueError(f"--num-items {settings.num_items} is none: give a number, or 0 for all")
    if not 0 < settings.frame_rate <= 1000:
        raise ValueError(f"--frame-rate {settings.frame_rate:g} is none: give frames per second, such as 8")
    videos = {name: {video.name: video for video in list_videos(path)} for name, path in _folders(settings.methods)}
    listed = read_items(settings.items)
    missing = {item.name: _missing(item, videos) for item in listed}
    told = [f"{name} lacks {', '.join(lacks)}" for name, lacks in missing.items() if lacks]
    whole = [item for item in listed if not missing[item.name]]
    wanted = settings.num_items or max(1, len(whole))
    if len(whole) < wanted:
        raise ValueError(
            f"{len(whole)} of {len(listed)} items in {settings.items} have everything, {wanted} are wanted: "
            f"add what is missing{f', or give --num-items {len(whole)}' if whole else ''}"
            + "".join(f"\n  {line}" for line in told)
        )
    return _write(settings, draw(whole, wanted, settings.seed), videos), told


def draw(items: list[ListedItem], count: int, seed: int) -> list[ListedItem]:
    """Return so many of the items, in the order in which they are listed."""
    chosen = random.Random(seed).sample(range(len(items)), count)  # noqa: S311 - it need not be hard to guess
    return [items[index] for index in sorted(chosen)]


def read_items(path: Path) -> list[ListedItem]:
    """Return the rows of an items file.

    Raises:
        ValueError: not such a file, a row without one of its values, or two rows of one name.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        elif path.suffix.lower() == ".jsonl":
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
        else:
            raise ValueError(f"{path} has an unknown kind {path.suffix!r}: use .csv or .jsonl")
    except FileNotFoundError:
        raise ValueError(f"there is no {path}: give a csv or jsonl with name, prompt and image") from None
    except (csv.Error, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): write it as csv or jsonl in UTF-8") from None
    if not rows:
        raise ValueError(f"{path} has no rows: give one for each item, with name, prompt and image")
    faults, items = [], dict[str, ListedItem]()
    for number, row in enumerate(rows, 1):
        values = {key: row.get(key) for key in _COLUMNS} if isinstance(row, dict) else {}
        lacks = [key for key in _COLUMNS if not isinstance(values.get(key), str) or not str(values[key]).strip()]
        if lacks:
            faults.append(f"row {number} has no {' and no '.join(lacks)}")
            continue
        name, prompt, image = (str(values[key]).strip() for key in _COLUMNS)
        if name in items:
            faults.append(f"row {number} is the second one named {name}")
        items[name] = ListedItem(name=name, prompt=prompt, image=path.parent / image)
    if faults:
        raise ValueError(f"{path} has {len(faults)} faults, mend them first:" + "".join(f"\n  {one}" for one in faults))
    return list(items.values())


def _folders(methods: tuple[str, ...]) -> list[tuple[str, Path]]:
    found: dict[str, Path] = {}
    for text in methods:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise ValueError(f"--methods {text!r} is not NAME=FOLDER, such as magdiff=data/magdiff")
        if name in found:
            raise ValueError(f"--methods names {name} twice, {found[name]} and {folder}: give each its own name")
        found[name] = Path(folder)
    if not found:
        raise ValueError("--methods is empty: give NAME=FOLDER for each method, such as magdiff=data/magdiff")
    return list(found.items())


def _missing(item: ListedItem, videos: dict[str, dict[str, VideoPath]]) -> list[str]:
    lacks = [f"a video of {method}" for method, known in videos.items() if item.name not in known]
    return lacks if item.image.is_file() else [*lacks, f"its image {item.image}"]


def _write(settings: MakeSettings, items: list[ListedItem], videos: dict[str, dict[str, VideoPath]]) -> Study:
    faults, written = [], []
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{settings.output.name}.", dir=settings.output.parent) as temporary:
        folder = Path(temporary) / "study"
        for item in items:
            entry = StudyItem(
                id=secrets.token_hex(16),
                name=item.name,
                prompt=item.prompt,
                videos=tuple(StudyVideo(id=secrets.token_hex(16), method=method) for method in videos),
            )
            written.append(entry)
            try:
                write_atomic(image_file(folder, entry.id), shown_picture(item.image))
            except ValueError as error:
                faults.append(str(error))
            for video in entry.videos:
                source = videos[video.method][item.name]
                try:
                    write_atomic(video_file(folder, video.id), playable_video(source, settings.frame_rate))
                except VideoFault as fault:
                    faults.append(f"{source.path}: {fault.fault.detail}")
        if faults:
            told = "".join(f"\n  {fault}" for fault in faults)
            raise ValueError(f"{len(faults)} files cannot be shown: mend them, or take their items out:{told}")
        study = Study(seed=settings.seed, methods=tuple(videos), items=tuple(written))
        study.save(folder)
        folder.rename(settings.output)
    return study
