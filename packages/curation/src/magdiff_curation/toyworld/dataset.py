"""Toyworld on disk: mp4 files, a manifest as curation takes it, and the truth beside it.

<output>/manifest.jsonl         video, caption, answer, box (first frame, pixels), and the truth's names
<output>/videos/00000.mp4       ...
<output>/truth/00000.masks.json one COCO RLE a frame
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from magdiff_curation.clips.atomic import canonical_json, write_atomic
from magdiff_curation.clips.masks import bounding_box, encode_rle
from magdiff_curation.clips.video import encode
from magdiff_curation.toyworld.scene import Difficulty, render, sample_scene


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """What to draw."""

    num_clips: int = 24
    """How many clips."""
    seed: int = 0
    """The world; (seed, number) fixes a clip."""
    first_index: int = 0
    """Number of the first clip."""
    width: int = 512
    """Pixels, even."""
    height: int = 512
    """Pixels, even."""
    num_frames: int = 16
    """Frames a clip."""
    frame_rate: float = 8.0
    """Frames per second."""
    difficulty: Difficulty = field(default_factory=Difficulty)
    """What makes the scenes harder."""


def write_dataset(output: Path, settings: DatasetSettings, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write the clips, their truth and the manifest, and return the manifest's path.

    `progress(done, total)` is called after every clip. 512 px clips of 16 frames take about 2 s each a core.
    """
    indices = range(settings.first_index, settings.first_index + settings.num_clips)
    rows = []
    with ProcessPoolExecutor() as pool:
        arguments = ([output] * len(indices), [settings] * len(indices), indices)
        for row in pool.map(_write_clip, *arguments):
            rows.append(row)
            if progress:
                progress(len(rows), len(indices))
    manifest = output / "manifest.jsonl"
    write_atomic(manifest, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    return manifest


def _write_clip(output: Path, settings: DatasetSettings, index: int) -> dict[str, object]:
    scene = sample_scene(settings.seed, index, settings.difficulty)
    frames, masks = render(scene, height=settings.height, width=settings.width, num_frames=settings.num_frames)
    name = f"{index:05d}"
    write_atomic(output / "videos" / f"{name}.mp4", encode(frames, settings.frame_rate))
    write_atomic(output / "truth" / f"{name}.masks.json", canonical_json([encode_rle(mask) for mask in masks]))
    return {
        "video": f"videos/{name}.mp4",
        "caption": scene.caption,
        "answer": f"a {scene.noun}",
        "box": bounding_box(masks[0]),
        "class_name": scene.subject.class_name,
        "background": scene.background,
        "action": scene.action,
        "seed": settings.seed,
        "index": index,
    }
