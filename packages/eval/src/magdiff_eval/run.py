"""Run a benchmark: `python -m magdiff_eval.run davis|ucf101|msrvtt|dreambooth|toyworld --model CHECKPOINT`.

Reads the benchmark's folder and tells all its faults before anything loads; makes every video that is not there yet
with the checkpoint (or `--baseline NAME`, or takes those of `--videos FOLDER`); scores them; and leaves results.json,
rows.jsonl, tables beside the paper's and report.html. Stop it whenever you like; the same command goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from magdiff_curation.clips.atomic import sha256_of_file
from magdiff_curation.clips.masks import Frames
from magdiff_eval.baselines import BASELINES, Maker, load_baseline
from magdiff_eval.harness.folder import RunFolder, keep_previews
from magdiff_eval.harness.makers import MagDiffMaker, magdiff_attributes, magdiff_stamp
from magdiff_eval.harness.making import Spread, Worker, make_videos
from magdiff_eval.harness.scores import score_run
from magdiff_eval.harness.settings import COMMANDS, RunSettings, ToyworldCommand
from magdiff_eval.harness.subjects import Subjects
from magdiff_eval.harness.summary import Method, complete, write_summary
from magdiff_eval.layouts.item import Item, Listing, check
from magdiff_eval.report.document import write_document
from magdiff_eval.score import reference_faults
from magdiff_eval.scoring.loading import load_metrics
from magdiff_eval.scoring.metric import LoadedMetric


def run(settings: RunSettings, spread: Spread | None = None) -> dict[str, Any]:
    """Make and score what is missing, write the summary, and return results.json's content.

    Args:
        settings: a command's.
        spread: makes videos in other processes; None makes them here.

    Raises:
        ValueError: the benchmark's folder has faults, weights are missing, or the output folder holds another run: all
            told before anything is made. Or no video could be made.
    """
    listing = settings.listing()
    check(listing)
    for note in listing.notes:
        print(f"note: {note}")
    folder = RunFolder(settings.output)
    settings.check_tasks(listing)
    settings.check_reference(listing)
    metrics = run_metrics(settings)
    stamp = dict(maker_stamp(settings))
    if settings.model is not None and any(item.masks is None for item in listing.items):
        stamp["vision"] = vision_stamp(settings.vision)
    folder.begin({"listing": listing.stamp, "maker": stamp, "num_frames": settings.num_frames}, listing)
    failed = dict[str, str]()
    if settings.videos is None:
        make = partial(new_worker, settings, listing)
        failed = make_videos(listing.items, folder, make, spread)
    results = score_run(settings, listing, folder, metrics)
    attributes = dict(BASELINES[settings.baseline].attributes) if settings.baseline is not None else {}
    if settings.model is not None:
        attributes = magdiff_attributes(settings.model)
    method = Method(name=settings.method_name, stamp=stamp, attributes=attributes)
    results = complete(results, method, listing, folder, settings.num_frames)
    print(write_summary(results, listing, folder))
    if settings.videos is not None:
        keep_previews(settings.videos, listing, folder)
    page = settings.output / "report.html"
    write_document([settings.output], page)
    for line in reference_faults(results):
        print(line)
    for name, why in results["not_scored"].items():
        print(f"{name}: not scored: {why}")
    for name, why in list(failed.items())[:10]:
        print(f"not made: {name}: {why}")
    print(f"look at {page}")
    return results


def vision_stamp(vision: str | None) -> str:
    """Return which models find subjects: a preset's name, or a file's hash."""
    file = Path(vision or "full")
    return f"sha256 {sha256_of_file(file)}" if file.is_file() else file.name


def maker_stamp(settings: RunSettings) -> Mapping[str, Any]:
    """Return all that a run's videos depend on besides the benchmark."""
    if settings.videos is not None:
        return {"videos": settings.videos.resolve().name}
    if settings.model is not None:
        return magdiff_stamp(settings.model, settings.how, device=settings.device, precision=settings.precision)
    return new_maker(settings).stamp


def new_maker(settings: RunSettings) -> Maker:
    """Return the maker that the settings name, loaded."""
    if settings.model is not None:
        return MagDiffMaker(settings.model, settings.how, device=settings.device, precision=settings.precision)
    assert settings.baseline is not None, "one of three is given"
    given: dict[str, Any] = dict(settings.given)
    device, precision = settings.device, settings.precision
    return load_baseline(settings.baseline, settings.weights, device=device, precision=precision, **given)


def new_worker(settings: RunSettings, listing: Listing) -> Worker:
    """Return what makes videos in this process, models loaded."""
    folder = RunFolder(settings.output)
    if settings.model is None:
        return Worker(maker=new_maker(settings), folder=folder, num_frames=settings.num_frames, find=None)
    unmasked = [item for item in listing.items if item.masks is None]
    names = any(not item.label for item in unmasked)
    find = Subjects(folder.output / "subjects", settings.vision, names=names).find if unmasked else _no_search
    return Worker(maker=new_maker(settings), folder=folder, num_frames=settings.num_frames, find=find)


def _no_search(item: Item, _: Frames) -> tuple[None, str]:
    raise AssertionError(f"{item.name} has masks")


def run_metrics(settings: RunSettings) -> dict[str, LoadedMetric]:
    """Return the run's metrics, loaded."""
    metrics = load_metrics(settings.scoring)
    return metrics | ({"oracle": settings.world.metric()} if isinstance(settings, ToyworldCommand) else {})


def main() -> None:
    """Read the command line and run."""
    try:
        run(tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="python -m magdiff_eval.run"))
    except (ValueError, OSError) as error:
        sys.exit(f"run: {error}")


if __name__ == "__main__":
    main()
