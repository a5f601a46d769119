"""Splitting in the pipeline: an input without a span becomes one input a shot, before anything else is done.

A worker finds a source's shots, then makes all their canonical clips in one more decode. What it found is kept under
`work/shots`, so that a later run sees the same inputs. A source that cannot be read stays one input, and meets its
reason in the stage that opens it.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from magdiff_curation.clips.atomic import canonical_json, sha256_hex, write_atomic
from magdiff_curation.clips.video import encode
from magdiff_curation.commit import Workspace
from magdiff_curation.config import CurationSettings
from magdiff_curation.normalize import canonical_rate, decode_source, probe_source
from magdiff_curation.reasons import ClipRejected, Reason, Status
from magdiff_curation.split import Shot, cut_frames, find_shots
from magdiff_curation.state import ClipState


def is_split(state: ClipState, settings: CurationSettings) -> bool:
    """Return whether an input is to be split: splitting is on, and it has no span of its own."""
    spans = (settings.start_column, settings.end_column)
    return settings.split != type(settings.split)() and not any(column in state.fields for column in spans)


def known_shots(state: ClipState, settings: CurationSettings, again: bool = False) -> list[ClipState] | None:
    """Return an input's shots as inputs, or None where they have not been found yet.

    With `again` also None where they were looked for and the source could not be read.
    """
    if not is_split(state, settings):
        return [state]
    path = _shots_path(state, settings)
    if not path.is_file():
        return None
    found = json.loads(path.read_bytes())
    if not found:
        return None if again else [state]
    return as_inputs(state, [Shot(**entry) for entry in found], settings)


class ShotFinder:
    """What runs in a worker: finds an input's shots and makes their clips."""

    def __init__(self, settings: CurationSettings) -> None:
        self.settings, self.workspace = settings, Workspace(settings.output)

    def __call__(self, state: ClipState) -> None:
        """Find the shots of one input and keep them for `known_shots`."""
        clip, limits, path = self.settings.clip, self.settings.limits, Path(state.path)
        try:
            shots = find_shots(path, clip, limits, self.settings.split)
            inputs = dict(zip([shot.number for shot in shots], as_inputs(state, shots, self.settings), strict=True))
            info = probe_source(path, limits)
            rate = canonical_rate(info, clip)
            good = [shot for shot in shots if not shot.too_short]
            made = {
                inputs[shot.number].row_id: encode(frames, rate, clip.codec)
                for shot, frames in cut_frames(decode_source(path, info, clip, limits), rate, good)
            }
        except (ClipRejected, ValueError):
            shots, made = [], {}
        for row_id, video in made.items():
            write_atomic(self.workspace.video(row_id), video)
        write_atomic(_shots_path(state, self.settings), canonical_json([dataclasses.asdict(shot) for shot in shots]))


def not_split(state: ClipState) -> ClipState:
    """Return an input whose worker died while it looked for shots, decided: one clip of it all would hide its cuts."""
    lost = copy.deepcopy(state)
    lost.stage, lost.status, lost.reason = "shots", Status.FAILED, Reason.WORKER_DIED
    lost.detail = "the worker that looked for its shots failed or died"
    return lost


def as_inputs(state: ClipState, shots: Sequence[Shot], settings: CurationSettings) -> list[ClipState]:
    """Return one input a shot; a single whole shot is the input itself, one that is too short is dropped at once."""
    if len(shots) == 1 and shots[0].start_seconds == 0 and shots[0].end_seconds is None:
        return [state]
    inputs = []
    for shot in shots:
        child = copy.deepcopy(state)
        child.source = f"{state.source}@{shot.number}"
        child.fields[settings.start_column] = shot.start_seconds
        if shot.end_seconds is not None:
            child.fields[settings.end_column] = shot.end_seconds
        if shot.start_seconds > 0:
            child.fields.pop(settings.mask.box_column, None)  # it is the source's first frame's
        if shot.too_short:
            child.stage, child.status, child.reason = "normalize", Status.DROPPED, Reason.TOO_SHORT
            end = "its end" if shot.end_seconds is None else f"{shot.end_seconds:g} s"
            child.detail = (
                f"shot {shot.number}, {shot.start_seconds:g} s to {end}, is under {settings.split.min_shot_seconds:g} s"
            )
        inputs.append(child)
    return inputs


def _shots_path(state: ClipState, settings: CurationSettings) -> Path:
    identity = [state.row_id, dataclasses.asdict(settings.split)]
    return settings.output / "work" / "shots" / f"{sha256_hex(canonical_json(identity))[:24]}.json"
