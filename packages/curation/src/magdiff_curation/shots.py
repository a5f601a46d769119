"""Splitting in the pipeline: an input without a span becomes one input a shot, before anything else is done.

A worker finds a source's shots, then makes all their canonical clips in one more decode. What it found is kept under
`work/shots`, so that a later run sees the same inputs. A source that cannot be read, or that the resolution rule drops,
stays one input with that reason.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from magdiff_curation.clips.atomic import canonical_json, list_files, read_many, sha256_hex, write_atomic
from magdiff_curation.clips.video import encode
from magdiff_curation.commit import Workspace
from magdiff_curation.config import CurationSettings
from magdiff_curation.filters import check_short_side
from magdiff_curation.normalize import canonical_rate, decode_source, probe_source
from magdiff_curation.reasons import ClipRejected, Reason, Status
from magdiff_curation.sources import local_copy
from magdiff_curation.split import Shot, cut_frames, find_shots
from magdiff_curation.state import ClipState


def is_split(state: ClipState, settings: CurationSettings) -> bool:
    """Return whether an input is to be split: splitting is on, it has no span of its own, and it can become a clip."""
    spans = (settings.start_column, settings.end_column)
    if not state.caption and settings.answer.missing_caption == "drop":
        return False
    return settings.split != type(settings.split)() and not any(column in state.fields for column in spans)


def read_shots(states: Sequence[ClipState], settings: CurationSettings) -> dict[str, bytes]:
    """Return what is kept of the inputs' shots, by row id: one listing, then many files at a time."""
    paths = {state.row_id: _shots_path(state, settings) for state in states if is_split(state, settings)}
    there = list_files(Workspace(settings.output, settings.work).folder / "shots") if paths else {}
    paths = {row_id: path for row_id, path in paths.items() if path.name in there}
    return dict(zip(paths, read_many(list(paths.values())), strict=True))


def known_shots(
    state: ClipState, settings: CurationSettings, kept: Mapping[str, bytes], again: bool = False
) -> list[ClipState] | None:
    """Return an input's shots as inputs, or None where they have not been found yet.

    `kept` is what `read_shots` found. With `again` also None where they were looked for and the source could not be
    read.
    """
    if not is_split(state, settings):
        return [state]
    if state.row_id not in kept:
        return None
    found = json.loads(kept[state.row_id])
    if isinstance(found, dict):
        rejection = ClipRejected(Reason(found["reason"]), found["detail"])
        return None if again and rejection.status == Status.FAILED else [decided(state, rejection)]
    return as_inputs(state, [Shot(**entry) for entry in found], settings)


class ShotFinder:
    """What runs in a worker: finds an input's shots and makes their clips."""

    def __init__(self, settings: CurationSettings) -> None:
        self.settings, self.workspace = settings, Workspace(settings.output, settings.work)

    def __call__(self, state: ClipState) -> None:
        """Find the shots of one input and keep them for `read_shots`."""
        clip, limits = self.settings.clip, self.settings.limits
        try:
            with local_copy(state.path) as path:
                info = probe_source(path, limits)
                check_short_side(info.width, info.height, self.settings.filters)
                shots = find_shots(path, clip, limits, self.settings.split)
                inputs = dict(zip([shot.number for shot in shots], as_inputs(state, shots, self.settings), strict=True))
                rate = canonical_rate(info, clip)
                good = [shot for shot in shots if not shot.too_short]
                made = {
                    inputs[shot.number].row_id: encode(frames, rate, clip.codec)
                    for shot, frames in cut_frames(decode_source(path, info, clip, limits), rate, good)
                }
        except ClipRejected as rejection:
            self._keep(state, {"reason": rejection.reason, "detail": rejection.detail})
            return
        except ValueError as error:
            self._keep(state, {"reason": Reason.SOURCE_UNREADABLE, "detail": str(error)})
            return
        for row_id, video in made.items():
            write_atomic(self.workspace.video(row_id), video)
        self._keep(state, [dataclasses.asdict(shot) for shot in shots])

    def _keep(self, state: ClipState, found: object) -> None:
        write_atomic(_shots_path(state, self.settings), canonical_json(found))


def not_split(state: ClipState) -> ClipState:
    """Return an input whose worker died while it looked for shots, decided: one clip of it all would hide its cuts."""
    return decided(state, ClipRejected(Reason.WORKER_DIED, "the worker that looked for its shots failed or died"))


def decided(state: ClipState, rejection: ClipRejected) -> ClipState:
    """Return an input that is rejected before any stage."""
    lost = copy.deepcopy(state)
    lost.stage, lost.status, lost.reason, lost.detail = "shots", rejection.status, rejection.reason, rejection.detail
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
    name = f"{sha256_hex(canonical_json(identity))[:24]}.json"
    return Workspace(settings.output, settings.work).folder / "shots" / name
