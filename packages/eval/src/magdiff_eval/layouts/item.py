"""What a benchmark's folder asks for: an item for each video that is to be made, and all that is wrong with the folder.

A listing reads texts and the headers of pictures, asks whether videos are there, and decodes nothing: half a second for
the largest of the four (UCF-101). So a run knows of every fault before it loads a model, but not of a video that is cut
short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from magdiff_curation.clips.atomic import canonical_json, sha256_hex

Task = Literal["edit", "generate"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One video to make."""

    name: str
    """Unique; a relative path with forward slashes that is safe as a file's, without a suffix: `bear/style`."""
    group: str
    """The line it counts for in a table by group: edit type, class, category or subject."""
    task: Task
    prompt: str
    """What the maker gets."""
    clip_prompt: str
    """What CLIP compares with."""
    source: Path
    """To edit: a folder of frames. To generate: a video whose first frame is shown, or one picture."""
    references: tuple[Path, ...] = ()
    """Pictures of the subject, for the DINO score; none: the source's first frame."""
    masks: Path | None = None
    """A folder of PNG masks of the subject, named as the frames, where the layout has them."""
    label: str
    """What the masker looks for; empty where nothing says."""
    kept: Literal["subject", "surroundings"] = "subject"
    """Which side of the mask the model is shown, and keeps."""
    seed: int
    """Of the noise: the item's number in the whole benchmark."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A benchmark's folder, read."""

    items: tuple[Item, ...]
    """In their order; of a folder with faults, those that can be made."""
    faults: tuple[str, ...]
    """A sentence each: where, what is wrong, what to do."""
    notes: tuple[str, ...]
    """What a reader should know and that is no fault."""
    stamp: dict[str, Any]
    """All that the scores depend on but the pixels, as JSON takes it."""


def check(listing: Listing) -> None:
    """Do nothing for a listing without faults.

    Raises:
        ValueError: all the faults, one a line, and how many there are.
    """
    if listing.faults:
        count = f"{len(listing.faults)} fault{'s' if len(listing.faults) > 1 else ''}"
        raise ValueError(
            f"the folder of {listing.stamp['benchmark']} has {count}, nothing was made:\n  "
            + "\n  ".join(listing.faults)
        )
    assert len({item.name for item in listing.items}) == len(listing.items) > 0


def items_stamp(items: Sequence[Item], data: Path) -> dict[str, Any]:
    """Return how many items there are, and the SHA-256 of what they say, with paths from the folder `data`."""

    def path(path: Path | None) -> str | None:
        return path.relative_to(data).as_posix() if path else None

    said = [
        [
            item.name,
            item.group,
            item.task,
            item.prompt,
            item.clip_prompt,
            path(item.source),
            [path(reference) for reference in item.references],
            path(item.masks),
            item.label,
            item.kept,
            item.seed,
        ]
        for item in items
    ]
    return {"count": len(items), "sha256": sha256_hex(canonical_json(said))}
