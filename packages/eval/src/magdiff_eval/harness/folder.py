"""A run's folder: what is kept of every video, so that a run that was stopped goes on and makes nothing twice.

<output>/run.json            what was asked: the benchmark, its listing, the maker; another run is refused here
<output>/listing.json        every item
<output>/frames/<name>/      the video that metrics see: 00000.png …, and made.json
<output>/videos/<name>.mp4   the same to look at
<output>/shown/<name>.png    what the maker was shown (.mp4 of an edit)
<output>/sources/, kept/     edits only: the source as it was framed, and the mask of what was to be kept
<output>/failed.jsonl        what could not be made, and why
"""

from __future__ import annotations

import glob
import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from magdiff_curation.clips.atomic import canonical_json, write_atomic
from magdiff_curation.clips.masks import Frames, Image, Masks, subject_image
from magdiff_curation.clips.video import CodecSettings, encode
from magdiff_eval.harness.shown import Shown
from magdiff_eval.layouts.item import Item, Listing
from magdiff_eval.report.document import MAX_VIDEOS
from magdiff_eval.scoring.faults import VideoFault
from magdiff_eval.scoring.videos import list_videos, read

FRAME_RATE = 8.0
"""Frames per second of what is written to look at."""
PREVIEW = CodecSettings(constant_rate_factor=25)
"""Small: a page holds hundreds."""


class RunFolder:
    """One run's folder."""

    def __init__(self, output: Path) -> None:
        self.output, self.frames, self.failed = output, output / "frames", output / "failed.jsonl"

    def begin(self, asked: Mapping[str, Any], listing: Listing) -> None:
        """Write what was asked, and the listing.

        Raises:
            ValueError: the folder holds another run.
        """
        path, wanted = self.output / "run.json", canonical_json(asked)
        if path.is_file() and path.read_bytes() != wanted:
            before = json.loads(path.read_bytes())
            differs = [name for name in {**before, **asked} if before.get(name) != asked.get(name)]
            raise ValueError(f"{self.output} holds a run with another {', '.join(differs)}: choose another --output")
        write_atomic(path, wanted)
        items = [{"name": i.name, "group": i.group, "task": i.task, "prompt": i.prompt} for i in listing.items]
        stamp = listing.stamp
        shown = {"benchmark": stamp["benchmark"], "stamp": stamp, "items": items}
        write_atomic(self.output / "listing.json", json.dumps(shown, indent=1).encode())

    def is_made(self, item: Item) -> bool:
        """Whether an item's video is there, whole."""
        return (self.frames / item.name / "made.json").is_file()

    def made(self, item: Item) -> dict[str, Any]:
        """Return what is known of an item's video."""
        facts: dict[str, Any] = json.loads((self.frames / item.name / "made.json").read_bytes())
        return facts

    def keep(self, item: Item, video: Frames, shown: Shown, facts: Mapping[str, Any]) -> None:
        """Keep an item's video uint8 [F, H, W, 3] and what was shown; it counts as made once this has returned."""
        write_atomic(self.output / "videos" / f"{item.name}.mp4", encode(_even(video), FRAME_RATE, PREVIEW))
        masks = np.ones(shown.frames.shape[:3], bool) if shown.masks is None else shown.masks
        subjects = [subject_image(frame, mask) for frame, mask in zip(shown.frames, masks, strict=True)]
        if item.task == "edit":
            write_atomic(
                self.output / "shown" / f"{item.name}.mp4", encode(_even(np.stack(subjects)), FRAME_RATE, PREVIEW)
            )
        else:
            write_atomic(self.output / "shown" / f"{item.name}.png", png(subjects[0]))
        write_pictures(self.frames / item.name, video, {"made.json": canonical_json(facts)})

    def keep_framed(self, item: Item, source: Frames, masks: Masks) -> None:
        """Keep an edit's source uint8 [F, H, W, 3] and masks bool [F, H, W] as they are framed in the video."""
        write_pictures(self.output / "sources" / item.name, source)
        grey = np.where(masks[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=3)
        write_pictures(self.output / "kept" / item.name, grey)

    def framed(self, item: Item) -> tuple[Path, Path] | None:
        """Return the folders of an edit's source and masks as they are framed, where the maker frames them."""
        folders = self.output / "sources" / item.name, self.output / "kept" / item.name
        return folders if all(folder.is_dir() for folder in folders) else None


def keep_previews(videos: Path, listing: Listing, folder: RunFolder) -> None:
    """Keep what a page shows of videos made elsewhere, at most as many as a page holds."""
    named = {item.name for item in listing.items}
    for video in [video for video in list_videos(videos) if video.name in named][:MAX_VIDEOS]:
        path = folder.output / "videos" / f"{video.name}.mp4"
        if not path.is_file():
            try:
                write_atomic(path, encode(_even(read(video)[0]), FRAME_RATE, PREVIEW))
            except VideoFault:
                continue  # its row says why


def write_pictures(folder: Path, pictures: Frames, others: Mapping[str, bytes] | None = None) -> None:
    """Write pictures uint8 [F, H, W, 3] as 00000.png …, and other files; the folder is there whole or not at all."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.part"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    beside.mkdir(parents=True)
    files = {f"{number:05d}.png": png(picture) for number, picture in enumerate(pictures)}
    for name, content in {**files, **(others or {})}.items():
        write_atomic(beside / name, content)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def png(picture: Image) -> bytes:
    """Return a picture uint8 [H, W, 3] as PNG."""
    buffer = io.BytesIO()
    PillowImage.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _even(frames: Frames) -> Frames:
    height, width = (side - side % 2 for side in frames.shape[1:3])  # H.264 takes no odd sides
    return frames[:, :height, :width]
