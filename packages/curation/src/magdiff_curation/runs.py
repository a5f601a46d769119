"""Runs into one output, told apart by a number: the latest one owns the output, whoever else is still alive.

A killed driver may leave workers behind that go on writing, and nothing stops a second driver from being started.
Every run takes the next number by creating `work/runs/<number>.json`, which only one can; whoever is about to commit
or pack looks whether the next number is taken, and stops if so. What an old run can still do in the moment between
looking and writing is harmless: all that it writes follows from the inputs, and lists of shards are only replaced as
long as they are what was read.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magdiff_curation.clips.atomic import canonical_json, create_exclusive, list_files, write_atomic


class Superseded(RuntimeError):
    """A later run has taken over the output."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run's claim on an output folder."""

    folder: Path
    """`work/runs` of the output."""
    number: int

    def check(self) -> None:
        """Raise Superseded where a later run has begun."""
        successor = self.folder / f"{self.number + 1:06d}.json"
        if successor.is_file():
            later = json.loads(successor.read_bytes())
            raise Superseded(
                f"run {later['number']} (host {later['host']}, process {later['pid']}, begun {later['started']}) "
                f"has taken over {self.folder.parent.parent}; this was run {self.number}. What it committed stays"
            )

    def note(self, name: str, value: Mapping[str, Any]) -> None:
        """Write something about this run beside its claim, as `<number>.<name>.json`."""
        write_atomic(self.folder / f"{self.number:06d}.{name}.json", canonical_json(value))


def begin(folder: Path, settings_sha256: str) -> Run:
    """Take the next number in `folder` and return the run that now owns the output."""
    numbers = [int(name[:6]) for name in list_files(folder) if name[:6].isdigit()]
    number = max(numbers, default=0) + 1
    while True:
        claim = {
            "number": number,
            "run_id": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.strftime("%Y-%m-%d %H:%M:%S%z"),
            "settings_sha256": settings_sha256,
            "python": platform.python_version(),
        }
        if create_exclusive(folder / f"{number:06d}.json", canonical_json(claim)):
            return Run(folder=folder, number=number)
        number += 1


def past_runs(folder: Path) -> list[dict[str, Any]]:
    """Return what is known of every run, the earliest first: its claim, and under "progress" and "result" its notes."""
    runs: dict[str, dict[str, Any]] = {}
    for name in sorted(list_files(folder)):
        if name[:6].isdigit() and name.endswith(".json"):
            value = json.loads((folder / name).read_bytes())
            note = name[6:].removesuffix(".json").lstrip(".")
            runs.setdefault(name[:6], {}).update({note: value} if note else value)
    return [runs[number] for number in sorted(runs)]
