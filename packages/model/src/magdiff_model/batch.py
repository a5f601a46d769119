"""One video or many: a batch is read from a csv, checked whole, and made row by row.

A row is the command itself with some options of its own. It is done when its video lies beside a sidecar with the same
request; then it is skipped, so that a stopped batch goes on where it stopped, and a changed row is made anew. A row
that fails is a line in the folder's log, with the reason, and the others go on. A folder has one batch at a time.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import sys
import time
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import tyro

from magdiff_model.batch_log import NAME, batch_log
from magdiff_model.sampling_settings import SamplingSettings
from magdiff_model.sidecar import read_request
from magdiff_model.video_command import Models, VideoCommand, check_apart, make_video, request_of

FOR_ALL = ("checkpoint", "batch", "dry_run", "vision", "sampling", "device")
"""Options of the whole run, which are no columns."""
MOST_PROBLEMS = 20

Command = TypeVar("Command", bound=VideoCommand)


def make_videos(command: VideoCommand) -> None:
    """Make the video, or the videos of the batch.

    Raises:
        ValueError: something cannot be made; says what to do. In a batch: before anything is loaded for what can be
            seen in the csv, at the end for rows that failed.
    """
    models = Models(command)
    if command.batch is None:
        command.check(models.num_frames)
    videos = [command] if command.batch is None else read_batch(command.batch, command, models.num_frames)
    for search in {tuple(video.search.items()) for video in videos if video.search}:
        models.finder.check(**dict(search))
    if command.batch is not None:
        make_batch(videos, command, models)
    elif command.dry_run:
        print(f"would make {command.output}")
    else:
        make_video(command, models, request_of(command, models))


def make_batch(videos: list[VideoCommand], command: VideoCommand, models: Models) -> None:
    """Make the videos that are not there yet.

    Raises:
        ValueError: another batch is at work in the folder; or rows failed, the message says how many, and where their
            reasons are.
    """
    assert command.output is not None, "checked"
    requests = [request_of(video, models) for video in videos]
    if command.dry_run:
        for number in _waiting(videos, requests):
            print(f"row {number}: would make {videos[number - 1].output}")
        return
    with batch_log(command.output) as log:
        waiting = _waiting(videos, requests)
        if waiting:
            _ = models.pipeline  # one that cannot be loaded is no row's failure
        begin, failed = time.monotonic(), 0
        for done, number in enumerate(waiting):
            video, left = videos[number - 1], ""
            if done:
                minutes = (time.monotonic() - begin) / done * (len(waiting) - done) / 60
                left = f", about {minutes:.1f} minutes left"
            print(f"[{done + 1}/{len(waiting)}] row {number}: {video.output}{left}", flush=True)
            line: dict[str, Any] = {"row": number, "output": str(video.output), "error": None}
            try:
                make_video(video, models, requests[number - 1])
            except (ValueError, OSError, torch.OutOfMemoryError) as error:
                failed += 1
                line["error"] = " ".join(str(error).split())
                print(f"row {number} failed: {line['error']}", flush=True)
            log(line)
    if failed:
        raise ValueError(f"{failed} of {len(videos)} videos failed; the reasons are in {command.output / NAME}")


def _waiting(videos: list[VideoCommand], requests: list[dict[str, Any]]) -> list[int]:
    """Return the rows whose videos are not there yet, or were made otherwise, and say so."""
    waiting = []
    for number, (video, request) in enumerate(zip(videos, requests, strict=True), 1):
        assert video.output is not None, "checked"
        before = read_request(video.output)
        if before == request:
            continue
        waiting.append(number)
        if before is not None:
            changed = [name for name in request | before if request.get(name) != before.get(name)]
            print(f"row {number}: {video.output} was made with another {', '.join(changed)}: it is made anew")
    print(f"{len(videos) - len(waiting)} of {len(videos)} videos are there already, {len(waiting)} to make", flush=True)
    return waiting


def read_batch(path: Path, command: Command, own_frames: int) -> list[Command]:
    """Return one checked command a row of a csv; what a row leaves out is `command`'s.

    The checkpoint makes `own_frames` frames at once.

    Raises:
        ValueError: all that can be seen to be wrong without opening a picture, by row; 1 is the first below the names.
    """
    if command.output is None:
        raise ValueError("--output is missing: with --batch, the folder that receives the videos")
    if command.output.is_file():
        raise ValueError(f"--output {command.output} is a file; with --batch, give a folder")
    rows, taken, used_as_folder = _read_rows(path, command), dict[Path, int](), dict[Path, int]()
    videos, problems = [], []
    for number, row in enumerate(rows, 1):
        try:
            video = _of_row(row, number, path.parent, command)
            video.check(own_frames)
            assert video.output is not None, "checked"
            folders = [folder for folder in video.output.parents if folder.is_relative_to(command.output)]
            for place in (video.output, *folders):
                if other := taken.get(place) or (used_as_folder.get(place) if place == video.output else None):
                    raise ValueError(f"writes to {video.output}, and row {other} to the same place")
            taken[video.output] = number
            used_as_folder |= dict.fromkeys(folders, number)
            videos.append(video)
        except ValueError as error:
            problems.append(f"row {number}: {error}")
    try:
        outputs = [video.output for video in videos if video.output is not None]
        check_apart(outputs, [path, *(file for video in videos for file in video.files().values())])
    except ValueError as error:
        problems.append(f"one row reads what another replaces: {error}")
    if problems:
        more = f"\n… and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
        raise ValueError(f"{path} cannot be used:\n" + "\n".join(problems[:MOST_PROBLEMS]) + more)
    return videos


def _read_rows(path: Path, command: VideoCommand) -> list[dict[str, str]]:
    known = [name for name in {**_kinds(type(command)), **_kinds(SamplingSettings)} if name not in FOR_ALL]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = [name.strip().lower().replace("-", "_") for name in reader.fieldnames or ()]
            for name in names:
                if name not in known:
                    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
                    raise ValueError(f"{path}: {name!r} is no column; did you mean {near!r}? All: {', '.join(known)}")
            if len(set(names)) < len(names):
                raise ValueError(f"{path} has a column twice: {', '.join(names)}")
            reader.fieldnames = names
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no csv in UTF-8 ({error})") from None
    if not rows:
        raise ValueError(f"{path} has no rows: the first line names the columns, such as image,subject,prompt,output")
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise ValueError(
                f"{path}: row {number} has {'more' if None in row else 'fewer'} cells than there are columns; "
                "quote cells that hold commas"
            )
    return rows


def _of_row(row: dict[str, str], number: int, folder: Path, command: Command) -> Command:
    kinds, sampling_kinds = _kinds(type(command)), _kinds(SamplingSettings)
    assert command.output is not None, "checked"
    cells = {name: cell.strip() for name, cell in row.items() if cell.strip()}
    output = Path(cells.pop("output", f"{number:04d}.mp4"))
    if output.is_absolute() or ".." in output.parts or not output.parts:
        raise ValueError(f"output {output} leads out of {command.output}: give a name within it")
    options: dict[str, Any] = {"batch": None, "output": command.output / output}
    if set(cells) & {
        "subject",
        "box",
        "whole",
        command.mask_option,
    }:  # the row's own way, instead of the command line's
        options |= {"subject": None, "box": None, "whole": False, command.mask_option: None}
    sampling: dict[str, Any] = {}
    for name, cell in cells.items():
        if name in kinds:
            options[name] = _convert(kinds[name], cell, name, folder)
        else:
            sampling[name] = _convert(sampling_kinds[name], cell, name, folder)
    return dataclasses.replace(command, **options, sampling=dataclasses.replace(command.sampling, **sampling))


def _kinds(kind: type) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if name in names}


def _convert(kind: Any, cell: str, name: str, folder: Path) -> object:
    """Return a cell as an option of this kind.

    Raises:
        ValueError: it is none.
    """
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        (kind,) = (option for option in typing.get_args(kind) if option is not type(None))
    if kind is Path:
        return folder / cell
    try:
        if typing.get_origin(kind) is Literal:
            return {str(option): option for option in typing.get_args(kind)}[cell]
        if typing.get_origin(kind) is tuple:
            numbers = tuple(float(number) for number in cell.replace(",", " ").split())
            return {len(typing.get_args(kind)): numbers}[len(numbers)]
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[cell.lower()]
        return kind(cell)
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind)
        if wanted is None:
            options = ", ".join(map(str, typing.get_args(kind)))
            wanted = "four numbers, x0 y0 x1 y1" if typing.get_origin(kind) is tuple else f"one of {options}"
        raise ValueError(f"{name} is {cell!r}; it must be {wanted}") from None


def command_line(kind: type[Command], function: Callable[[Command], None], prefix: str, examples: str) -> None:
    """Do what the command line says; a user's mistake is one line on standard error, and exit status 1."""
    name = kind.__name__.lower()
    description = f"{kind.__doc__}\n\n" + "\n\n".join(f"{prefix}{line}" for line in examples.splitlines())
    try:
        function(tyro.cli(kind, prog=f"{prefix}{name}", description=description))
    except (ValueError, OSError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: stopped; a batch goes on from there when it is started again")
