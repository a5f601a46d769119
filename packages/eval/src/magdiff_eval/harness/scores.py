"""A run's videos scored: what belongs to each is written down for `magdiff_eval.score`, which does the rest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magdiff_curation.clips.atomic import canonical_json, write_atomic
from magdiff_eval.harness.folder import RunFolder, png
from magdiff_eval.harness.settings import RunSettings, ToyworldCommand
from magdiff_eval.harness.shown import has_videos, read_source
from magdiff_eval.layouts.item import Item, Listing
from magdiff_eval.score import ScoreSettings, score
from magdiff_eval.scoring.metric import LoadedMetric
from magdiff_eval.scoring.pictures import SUFFIXES
from magdiff_eval.scoring.video_metrics import regions_metric


def score_run(
    settings: RunSettings, listing: Listing, folder: RunFolder, metrics: Mapping[str, LoadedMetric]
) -> dict[str, Any]:
    """Return what a run's videos score, as `magdiff_eval.score` tells it.

    Edits of MagDiff also get their errors inside and outside what they were to keep.

    Raises:
        ValueError: no video was made, or nothing to compare with.
    """
    videos = settings.videos or folder.frames
    if settings.videos is None and not any(folder.is_made(item) for item in listing.items):
        raise ValueError(f"no video of {len(listing.items)} could be made: see {folder.failed}")
    items = write_items(listing.items, folder, settings.num_frames, subjects="dino" in metrics)
    if any(folder.framed(item) for item in listing.items):
        metrics = {**metrics, "regions": regions_metric()}
    reference, real = settings.reference, dict[str, Any]()
    if reference is None and isinstance(settings, ToyworldCommand):
        reference = settings.world.reference
    elif "fvd" in metrics:
        reference = reference or link_sources(listing.items, folder)
        real = {"reference_frames": settings.num_frames, "reference_stride": settings.reference_stride}
    return score(
        ScoreSettings(
            **vars(settings.scoring),
            **real,
            videos=videos,
            items=items,
            only_items=True,
            reference=reference,
            output=folder.output,
            features=settings.features,
        ),
        metrics,
    )


def write_items(items: Sequence[Item], folder: RunFolder, num_frames: int, *, subjects: bool) -> Path:
    """Write `items.jsonl`, what belongs to each video, and return its path.

    With `subjects`, what a DINO score compares with is there too: the item's pictures of its subject, or else the
    source's first frame. A source that cannot be read leaves none, which that video's row tells.
    """
    lines = []
    for item in items:
        references = item.references
        if subjects and not references:
            try:
                references = (_first_frame(item, folder, num_frames),)
            except (ValueError, OSError):
                references = ()
        line: dict[str, Any] = {
            "name": item.name,
            "prompt": item.clip_prompt,
            "references": [_from(folder.output, path) for path in references],
        }
        if framed := folder.framed(item):
            line |= {name: _from(folder.output, path) for name, path in zip(("source", "masks"), framed, strict=True)}
        lines.append(line)
    path = folder.output / "items.jsonl"
    write_atomic(path, b"".join(canonical_json(line) + b"\n" for line in lines))
    return path


def link_sources(items: Sequence[Item], folder: RunFolder) -> Path | None:
    """Return a folder of links to the items' source videos, the set that distances are to; None: they are no videos."""
    videos = dict.fromkeys(item.source for item in items if has_videos(item))
    if not videos:
        return None
    target = folder.output / "reference"
    target.mkdir(parents=True, exist_ok=True)
    for path in videos:
        link = target / path.name
        if not link.is_symlink() or link.readlink() != path.absolute():
            link.unlink(missing_ok=True)
            link.symlink_to(path.absolute())
    return target


def _first_frame(item: Item, folder: RunFolder, num_frames: int) -> Path:
    if item.source.suffix.lower() in SUFFIXES:
        return item.source
    path = folder.output / "references" / f"{item.name}.png"
    if not path.is_file():
        write_atomic(path, png(read_source(item, num_frames)[0]))
    return path


def _from(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
