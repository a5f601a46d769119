"""A study on disk: which videos are shown with which picture and prompt, and the order in which a rater sees them.

<study>/study.json        who is who: the one place where a method's name stands beside a file
<study>/media/            videos and pictures under random names, all that a browser ever gets
<study>/answers.sqlite    raters and what they answered

Orders follow from a rater's token alone, by hashes, so that a link gives the same order on any machine and version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from magdiff_curation.clips.atomic import sha256_hex, write_atomic

ASPECTS = {
    "image_alignment": "Image-prompt alignment",
    "text_alignment": "Text-prompt alignment",
    "quality": "Quality",
}
"""What is rated, as Table 4 heads its columns; the first is what the text calls subject fidelity."""
LOWEST, HIGHEST = 1, 5
"""The Likert scale: very dissatisfied to very satisfied (Section 4.2)."""
LISTING, MEDIA, ANSWERS = "study.json", "media", "answers.sqlite"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class StudyVideo:
    """One method's video of an item."""

    id: str
    """Random, and the file's name without its suffix; the only name that leaves the server."""
    method: str


@dataclass(frozen=True, kw_only=True)
class StudyItem:
    """A picture and a prompt, and what each method made of them."""

    id: str
    """Random, and the picture's file name without its suffix."""
    name: str
    prompt: str
    videos: tuple[StudyVideo, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """What raters are shown."""

    seed: int
    """Which items were drawn."""
    methods: tuple[str, ...]
    items: tuple[StudyItem, ...]

    @property
    def num_answers(self) -> int:
        """How many answers a rater gives who answers everything."""
        return sum(len(item.videos) for item in self.items) * len(ASPECTS)

    def videos(self) -> dict[str, tuple[StudyItem, StudyVideo]]:
        """Return every video by its id."""
        return {video.id: (item, video) for item in self.items for video in item.videos}

    def save(self, folder: Path) -> None:
        """Write the listing."""
        write_atomic(folder / LISTING, json.dumps({"version": _VERSION, **asdict(self)}, indent=1).encode())


def load_study(folder: Path) -> Study:
    """Return the study in a folder.

    Raises:
        ValueError: no study there, or a damaged one.
    """
    path = folder / LISTING
    try:
        found = json.loads(path.read_bytes())
        if found.pop("version") != _VERSION:
            raise ValueError("it is of another version")
        items = tuple(
            StudyItem(**{**item, "videos": tuple(StudyVideo(**video) for video in item["videos"])})
            for item in found.pop("items")
        )
        study = Study(items=items, methods=tuple(found.pop("methods")), **found)
    except FileNotFoundError:
        raise ValueError(f"there is no {path}: make a study with python -m magdiff_eval.human make") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no study ({error}): make it again, into another folder") from None
    return study


def video_file(folder: Path, video: str) -> Path:
    """Return where the video of an id lies."""
    return folder / MEDIA / f"{video}.mp4"


def image_file(folder: Path, item: str) -> Path:
    """Return where the picture of an item's id lies."""
    return folder / MEDIA / f"{item}.png"


def order_for(study: Study, token: str) -> list[StudyItem]:
    """Return the items as one rater sees them: items shuffled, and each item's methods shuffled by themselves."""

    def shuffled(ids: Iterable[str]) -> dict[str, int]:
        ranked = sorted(ids, key=lambda one: sha256_hex(f"{token} {one}".encode()))
        return {one: place for place, one in enumerate(ranked)}

    places = shuffled([item.id for item in study.items]) | shuffled(study.videos())
    return [
        StudyItem(
            id=item.id,
            name=item.name,
            prompt=item.prompt,
            videos=tuple(sorted(item.videos, key=lambda video: places[video.id])),
        )
        for item in sorted(study.items, key=lambda item: places[item.id])
    ]
