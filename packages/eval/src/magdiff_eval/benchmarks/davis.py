"""DAVIS as LOVEU-TGVE 2023 lays it out: four edits of every video, scored by CLIP (Table 3).

<data>/LOVEU-TGVE-2023_Dataset.csv, <data>/DAVIS_480p/480p_frames/<video>/00000.jpg …; the subjects' masks come from
DAVIS itself: <data>/Annotations/480p/<video>/00000.png …, where anything but black is the subject; they must be cut
and scaled as the frames are (the challenge's are 480x480 px, DAVIS's own not). Eight frames are sampled over each video
(Supplement D). What an edit keeps is not in the paper; `KEPT` says what we take.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_eval.items import Item, Row
from magdiff_eval.judges import ClipJudge
from magdiff_eval.metrics.clip import frame_consistency, textual_alignment
from magdiff_model.media import read_image, read_mask

TABLE = "LOVEU-TGVE-2023_Dataset.csv"
EDITS = {
    "style": "Style Change Caption",
    "object": "Object Change Caption",
    "background": "Background Change Caption",
    "multiple": "Multiple Changes Caption",
}
KEPT = {"style": "subject", "object": "surroundings", "background": "subject", "multiple": "subject"}
"""Which side of the mask an edit shows to the model, and so keeps."""
PAPER = [
    ["Tune-A-Video", "28.33", "90.45"],
    ["FateZero", "23.81", "92.92"],
    ["Framewise IP2P", "25.11", "86.76"],
    ["MagDiff, as published", "27.65", "90.86"],
]
"""Table 3: textual alignment and frame consistency, x 100."""


class Davis:
    """The edits of a LOVEU-TGVE folder.

    Args:
        pipeline: the model; gives frame count and CLIP.
        data: the folder.
        num_videos: take only this many videos, in the table's order; None takes all.

    Raises:
        ValueError: files that are missing or do not fit, all of them in one message.
    """

    def __init__(self, pipeline: Any, data: Path, num_videos: int | None) -> None:
        self.pipeline, self.data, self.clip = pipeline, data, ClipJudge(pipeline)
        self.rows = _read_table(data)[:num_videos]
        self.protocol = {
            "benchmark": "davis",
            "videos": [row["Video name"] for row in self.rows],
            "frames": pipeline.config.num_frames,
            "kept": KEPT,
            "masks": "Annotations/480p",
            "clip": "the checkpoint's own: not comparable with published numbers",
        }

    def items(self) -> Iterator[Item]:
        """Yield every video once an edit."""
        for row in self.rows:
            source, masks = self._load(row["Video name"])
            for edit, column in EDITS.items():
                prompt = row[column]
                kept = masks if KEPT[edit] == "subject" else ~masks

                def score(video: Frames, prompt: str = prompt) -> Row:
                    embeddings = self.clip.embed_frames(video)
                    return {
                        "textual_alignment": textual_alignment(embeddings, self.clip.embed_text(prompt)),
                        "frame_consistency": frame_consistency(embeddings),
                    }

                name = f"{row['Video name']}-{edit}"
                yield Item(name=name, task="edit", prompt=prompt, source=source, masks=kept, score=score)

    def _load(self, name: str) -> tuple[Frames, Masks]:
        frames = sorted(_frames_folder(self.data, name).glob("*.jpg"))
        chosen = np.linspace(0, len(frames) - 1, self.pipeline.config.num_frames).round().astype(int)
        masks = _masks_folder(self.data, name)
        return (
            np.stack([read_image(frames[index]) for index in chosen]),
            np.stack([read_mask(masks / f"{frames[index].stem}.png") for index in chosen]),
        )

    def table(self, rows: list[Row]) -> list[tuple[str, list[str], list[list[str]]]]:
        """Return (title, header, lines): Table 3's shape, ours under the paper's, then ours by edit."""

        def line(name: str, mine: list[Row]) -> list[str]:
            scores = ("textual_alignment", "frame_consistency")
            return [name, *(f"{100 * np.mean([row[score] for row in mine]):.2f}" for score in scores)]

        header = ["method", "textual-align", "frame-consistency"]
        by_edit = [line(edit, [row for row in rows if row["name"].endswith(f"-{edit}")]) for edit in EDITS]
        ours = line("this checkpoint, its own CLIP: not comparable", rows)
        return [("DAVIS (Table 3)", header, [*PAPER, ours]), ("by edit", ["edit", *header[1:]], by_edit)]


def _frames_folder(data: Path, name: str) -> Path:
    return data / "DAVIS_480p" / "480p_frames" / name


def _masks_folder(data: Path, name: str) -> Path:
    return data / "Annotations" / "480p" / name


def _davis_rows(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the rows of DAVIS: the whole challenge's table has a heading row before each source's videos."""
    headings = [number for number, row in enumerate(rows) if row["Video name"].endswith("Videos:")]
    for heading, end in zip(headings, [*headings[1:], len(rows)], strict=True):
        if rows[heading]["Video name"].startswith("DAVIS"):
            return rows[heading + 1 : end]
    return rows


def _size_faults(frame: Path, masks: Path) -> list[str]:
    mask = masks / f"{frame.stem}.png"
    if not mask.is_file():
        return []
    with PillowImage.open(frame) as first, PillowImage.open(mask) as second:
        if first.size == second.size:
            return []
        return [f"{frame} is {first.size[0]}x{first.size[1]} px, its mask {mask} {second.size[0]}x{second.size[1]}"]


def _read_table(data: Path) -> list[dict[str, str]]:
    """Return the table's rows once every file that they need is known to be there."""
    path = data / TABLE
    if not path.is_file():
        raise ValueError(
            f"{data} has no {TABLE}: unpack LOVEU-TGVE 2023 there, or make toyworld's: "
            f"python -m magdiff_curation.toyworld benchmark --name davis --output {data}"
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = _davis_rows([row for row in csv.DictReader(file) if row.get("Video name")])
    faults = [f"{TABLE} lacks the column {column!r}" for column in EDITS.values() if not rows or column not in rows[0]]
    for row in rows:
        name = row["Video name"]
        frames = sorted(_frames_folder(data, name).glob("*.jpg"))
        if not frames:
            faults.append(f"no frames in {_frames_folder(data, name)}")
        else:
            faults += _size_faults(frames[0], _masks_folder(data, name))
        missing = [f.stem for f in frames if not (_masks_folder(data, name) / f"{f.stem}.png").is_file()]
        if missing:
            faults.append(f"no masks for frames {', '.join(missing[:3])}… in {_masks_folder(data, name)}")
    if faults:
        raise ValueError("the benchmark's folder does not fit:\n  " + "\n  ".join(faults))
    return rows
