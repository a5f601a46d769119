"""One folder a step: written whole, hashed, rotated; the newest whose every byte is as written is found again.

A folder holds a safetensors file for each part, `state.json`, and a manifest (`manifest.py`) that says whether they are
valid. It is written under a hidden name, flushed, and renamed: what has its name is complete. One of the same step is
first renamed to `.<name>.<random>.replaced`, which counts too until it is removed, so there always is one. A root has
one writer at a time (rank 0 of one run), and any number of readers.

Saving reads back what it wrote for the hashes, and, before it deletes one, those of the `keep` newest that this process
has neither written nor read, since one that is damaged does not count. Finding reads a checkpoint once; its tensors are
then private mappings of the files, which take memory as they are used.
"""

from __future__ import annotations

import errno
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from magdiff_curation.clips.atomic import TEMPORARY_SUFFIX
from magdiff_model.training import manifest
from magdiff_model.training.plain_values import from_json, to_json

STATE = "state.json"
PART_SUFFIX = ".safetensors"
REPLACED_SUFFIX = ".replaced"

_COMPLETE = re.compile(r"step-(\d{8,})|\.step-(\d{8,})\.[0-9a-f]{8}\.replaced")


@dataclass(frozen=True)
class Checkpoint:
    """What a run goes on from."""

    folder: Path
    step: int
    tensors: dict[str, dict[str, Tensor]]
    """Part, such as weights, ema or optimizer -> name -> tensor, on the CPU. Changing one leaves the file as it is."""
    values: dict[str, Any]
    """The rest, as JSON has it: tuples have become lists."""


def save_checkpoint(
    root: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any], keep: int
) -> Path:
    """Write the checkpoint of a step, delete all but the `keep` newest valid ones, and return its folder.

    A float comes back to the bit. `values["losses"]`, one a step, may hold NaN and infinities, which are written as the
    strings "nan", "inf" and "-inf"; elsewhere they are refused, as a mistake that should not outlive the run. A valid
    checkpoint of this step that holds the same stays; one that differs is replaced.

    Raises:
        ValueError: a value that JSON would not give back, by name; `keep` is below 1.
        OSError: the disk is full (the message says what was needed and what was free), or failed; the checkpoints from
            before are as they were.
    """
    if keep < 1:
        raise ValueError(f"{keep} checkpoints cannot be kept: 1 is the least")
    state = to_json(values)
    num_bytes = len(state) + sum(value.nbytes for named in tensors.values() for value in named.values())
    root.mkdir(parents=True, exist_ok=True)
    _clear(root)
    folder = root / f"step-{step:08d}"
    temporary = _hidden(folder, TEMPORARY_SUFFIX)
    try:
        with _room_for(folder, num_bytes):
            temporary.mkdir()
            _write(temporary, step, tensors, state)
            _put_in_place(temporary, folder, step)
            manifest.note_written(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _rotate(root, folder, keep)
    return folder


def newest_checkpoint(root: Path, say: Callable[[str], None] = print) -> Checkpoint | None:
    """Return the newest checkpoint whose every byte is as written; None where there is none at all.

    Each that is passed over is told to `say` in one line. Nothing is deserialised before its hash is found right.

    Raises:
        ValueError: there are checkpoints, and none is valid.
    """
    found = _complete(root)
    for step, folder in found:
        try:
            files = manifest.check(folder, step)
        except ValueError as defect:
            say(f"passed over {folder}: {defect}")
            continue
        parts = [name.removesuffix(PART_SUFFIX) for name in files if name.endswith(PART_SUFFIX)]
        tensors = {part: load_file(folder / f"{part}{PART_SUFFIX}") for part in parts}
        return Checkpoint(folder, step, tensors, from_json((folder / STATE).read_bytes()))
    if found:
        names = ", ".join(str(folder) for _, folder in found)
        raise ValueError(
            f"no checkpoint is as it was written, of {names}: restore one from a copy, or start in another --output"
        )
    return None


def check_room(root: Path, num_bytes: int) -> None:
    """Return if there is room for two checkpoints of `num_bytes` each: the newest, and the one that is being written.

    Raises:
        ValueError: less is free.
    """
    free = _free_bytes(root)
    if free < 2 * num_bytes:
        raise ValueError(
            f"{root} has room for {_gigabytes(free)}, and two checkpoints take {_gigabytes(2 * num_bytes)}: free space "
            "there, or choose another --output"
        )


def _write(folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: bytes) -> None:
    """Write a checkpoint's files, the manifest last, and see them onto the disk."""
    (folder / STATE).write_bytes(state)
    files = {STATE: manifest.flush_and_hash(folder / STATE)}
    for part, named in tensors.items():
        path = folder / f"{part}{PART_SUFFIX}"
        save_file(_apart(named), path, metadata={"format": "pt"})
        shutil.copymode(folder / STATE, path)  # safetensors writes files that only their owner may read
        files[path.name] = manifest.flush_and_hash(path)
    manifest.write(folder, step, files)


def _put_in_place(temporary: Path, folder: Path, step: int) -> None:
    if not folder.exists():
        temporary.rename(folder)
        manifest.flush(folder.parent)
        return
    if manifest.still_valid(folder, step) and manifest.same(folder, temporary):
        return
    replaced = _hidden(folder, REPLACED_SUFFIX)
    folder.rename(replaced)
    temporary.rename(folder)
    manifest.flush(folder.parent)
    _discard(replaced)


def _rotate(root: Path, written: Path, keep: int) -> None:
    """Delete what is older than the `keep` newest valid checkpoints; never the one just written."""
    found = _complete(root)
    if len(found) <= keep:
        return
    num_valid = 0
    for step, folder in found:
        if folder == written:
            num_valid += 1
        elif num_valid >= keep:
            _discard(folder)
        elif manifest.still_valid(folder, step):
            num_valid += 1


def _clear(root: Path) -> None:
    """Remove what dead writers left; a checkpoint that one had renamed away and not yet replaced gets its name back."""
    for replaced in root.glob(f".step-*{REPLACED_SUFFIX}"):
        folder = root / replaced.name.split(".")[1]
        if folder.exists():
            _discard(replaced)
        else:
            replaced.rename(folder)
    for stray in root.glob(f".step-*{TEMPORARY_SUFFIX}"):
        shutil.rmtree(stray, ignore_errors=True)


def _complete(root: Path) -> list[tuple[int, Path]]:
    """Return step and folder of what should be whole, newest first; of one step the one renamed away comes last."""
    if not root.is_dir():
        return []
    found = [(match, path) for path in root.iterdir() if (match := _COMPLETE.fullmatch(path.name))]
    ordered = sorted((int(match[1] or match[2]), match[1] is not None, path) for match, path in found)
    return [(step, path) for step, _, path in reversed(ordered)]


def _apart(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return dense tensors on the CPU, no two of which share memory, as safetensors wants them."""
    apart, seen = {}, set()
    for name, value in named.items():
        tensor = value.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return apart


@contextmanager
def _room_for(folder: Path, num_bytes: int) -> Iterator[None]:
    """Refuse at once what does not fit, and turn the error of a disk that fills up into one that says what was needed.

    safetensors raises its own kind of error then, with the system's number in its text.
    """
    free = _free_bytes(folder)
    message = (
        f"no room for the checkpoint {folder}: it takes {_gigabytes(num_bytes)}, and {_gigabytes(free)} were free; the "
        "earlier ones are as they were. Free space and start again, or lower checkpoints.keep"
    )
    if free < num_bytes:
        raise OSError(errno.ENOSPC, message)
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = re.search(r"(?:Errno|os error) (\d+)", str(error))
        if number is None or int(number[1]) not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(int(number[1]), message) from error


def _free_bytes(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.3f} GB"


def _hidden(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name.lstrip('.')}.{uuid.uuid4().hex[:8]}{suffix}")


def _discard(folder: Path) -> None:
    """Take a folder out of the readers' sight, then remove it; what cannot be removed now, the next save tries."""
    gone = _hidden(folder, TEMPORARY_SUFFIX)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
