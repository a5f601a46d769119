"""Commits: each input's outcome, written alone and atomically; and packing, which sorts the kept ones into shards.

    output/work/clips/<row>.mp4, .masks.json   what stages pass on; gone once committed
    output/work/samples/<row>.tar              a kept clip's stretch of tar, exactly as a shard will hold it
    output/work/outcomes/ab/<row>.json            the outcome: its being there is the commit
    output/clips-000000.tar, .index.json       shards; shards.json lists them and makes the set exist

Packing copies committed stretches in the order of their keys, so its result does not depend on who finished
when, or on how often the run was killed. Clips added later go into new shards; the old ones stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from magdiff_curation.clips.atomic import (
    list_files,
    read_many,
    remove_many,
    remove_temporaries,
    replace_if_unchanged,
    sha256_hex,
    sha256_of_file,
    write_atomic,
)
from magdiff_curation.clips.index import SHARD_LIST, ShardList, index_path, load_index, load_shard_list
from magdiff_curation.clips.record import MASKS, RECORD, SUBJECT, VIDEO, Clip, ClipRecord
from magdiff_curation.clips.shards import pack_sample, write_shard
from magdiff_curation.duplicates import DuplicateSettings, distance, near_duplicates
from magdiff_curation.reasons import Reason, Status
from magdiff_curation.runs import Superseded
from magdiff_curation.state import ClipState

_READ_AHEAD = 32
_EMPTY_LIST = ShardList(shards=(), index_sha256=(), num_samples=(), settings_sha256="")


@dataclass(frozen=True)
class Workspace:
    """Where a run keeps what it may need again: `work/` in the output, unless it is told another place."""

    output: Path
    work: Path | None = None
    """Where it is, if not below the output."""

    @property
    def folder(self) -> Path:
        """The folder that holds everything of this."""
        return self.work or self.output / "work"

    @property
    def runs(self) -> Path:
        """Where the output's runs are numbered; always with the output, which only one run may own."""
        return self.output / "work" / "runs"

    @property
    def results(self) -> Path:
        """Where the stages' results are remembered."""
        return self.folder / "results"

    def video(self, row_id: str) -> Path:
        """Return where the canonical clip of an input waits for its commit."""
        return self.folder / "clips" / f"{row_id}.mp4"

    def masks(self, row_id: str) -> Path:
        """Return where the masks of an input wait for its commit."""
        return self.folder / "clips" / f"{row_id}.masks.json"

    def sample(self, row_id: str) -> Path:
        """Return where the packed sample of a kept input waits for packing."""
        return self.folder / "samples" / f"{row_id}.tar"

    def outcome(self, row_id: str) -> Path:
        """Return where an input's outcome lies."""
        return self.folder / "outcomes" / row_id[:2] / f"{row_id}.json"

    def outcomes(self) -> set[str]:
        """Return the row ids that have an outcome, from one listing."""
        return {Path(name).stem for name in list_files(self.folder / "outcomes")}

    def samples(self) -> dict[str, int]:
        """Return the packed samples that wait, row id -> size in bytes, from one listing."""
        return {Path(name).stem: size for name, (size, _) in list_files(self.folder / "samples").items()}


def commit(workspace: Workspace, state: ClipState) -> None:
    """Write what became of an input; an input whose state is still open has passed every stage, and is kept."""
    video, masks = workspace.video(state.row_id), workspace.masks(state.row_id)
    if not state.status:
        state.stage, state.status, state.reason = "commit", Status.KEPT, Reason.KEPT
        write_atomic(workspace.sample(state.row_id), _sample(state, video.read_bytes(), masks.read_bytes()))
    write_atomic(workspace.outcome(state.row_id), state.to_json().encode())
    video.unlink(missing_ok=True)
    masks.unlink(missing_ok=True)


def _sample(state: ClipState, video: bytes, masks: bytes) -> bytes:
    record = ClipRecord(
        key=state.key,
        caption=state.caption_text,
        augmented_caption=state.augmented_caption,
        label=state.label,
        category=state.category,
        width=state.width,
        height=state.height,
        num_frames=state.num_frames,
        frame_rate=state.frame_rate,
        scores=state.scores,
        provenance={
            "source": state.source,
            "source_sha256": state.source_sha256,
            "span_seconds": [state.start_seconds, state.end_seconds],
            "answer": state.answer,
            "nouns": state.nouns,
            "label_source": state.label_source,
            "models": state.models,
            "settings_sha256": state.settings_sha256,
        },
    )
    members = {VIDEO: video, RECORD: record.to_json(), MASKS: masks}
    members[SUBJECT] = Clip.from_members({**members, SUBJECT: b""}).to_members()[SUBJECT]
    return pack_sample(state.key, members)


def committed(workspace: Workspace, state: ClipState) -> ClipState | None:
    """Return the committed state of an input that no shard holds, or None where it is still to be done."""
    path = workspace.outcome(state.row_id)
    if not path.is_file():
        return None
    done = ClipState.from_json(path.read_bytes())
    return None if done.status == Status.KEPT and not workspace.sample(state.row_id).is_file() else done


def all_committed(workspace: Workspace, states: Sequence[ClipState], packed_keys: Mapping[str, str]) -> list[ClipState]:
    """Return the committed states among inputs; a kept one whose sample is gone, and in no shard, is to be done again.

    Outcomes and samples are listed once, and outcomes read many at a time: on S3 that takes a request an input less.
    """
    outcomes, samples = workspace.outcomes(), workspace.samples()
    found = read_many([workspace.outcome(state.row_id) for state in states if state.row_id in outcomes])
    return [
        done
        for done in map(ClipState.from_json, found)
        if done.status != Status.KEPT or done.key in packed_keys or done.row_id in samples
    ]


def open_set(output: Path, settings_sha256: str) -> tuple[ShardList, dict[str, str]]:
    """Return the shards that the output folder already holds, and the sha256 of every sample in them by key.

    Raises:
        ValueError: they were made with other settings; ShardError: they are damaged.
    """
    if not (output / SHARD_LIST).is_file():
        return _EMPTY_LIST, {}
    listing = load_shard_list(output)
    if listing.settings_sha256 != settings_sha256:
        raise ValueError(
            f"{output} holds shards of other settings ({listing.settings_sha256[:8]}, now {settings_sha256[:8]}): "
            "one set has one definition: choose another output folder, or delete this one"
        )
    entries = (entry for shard in listing.shards for entry in load_index(output / shard).samples)
    return listing, {entry.key: entry.sha256 for entry in entries}


def pack(
    workspace: Workspace,
    states: Iterable[ClipState],
    settings_sha256: str,
    shard_bytes: int,
    duplicates: DuplicateSettings | None = None,
    fingerprints: Mapping[str, str] | None = None,
    check_owner: Callable[[], None] = lambda: None,
) -> list[ClipState]:
    """Pack every kept clip that no shard holds yet, and return the states with duplicates decided.

    Of several inputs with one key the first by name is kept, the others are dropped as duplicates. Of clips that look
    the same the one with the lowest key is kept, but what is packed already stays;
    `fingerprints` are those of the clips that earlier runs packed, by key. `check_owner` is called before every write
    of a shard or of their list, and raises where a later run has taken over.

    Raises:
        ValueError: a clip that is packed already has come out differently: its caption, answer or box has changed.
    """
    output = workspace.output
    seen = read_many([output / SHARD_LIST])[0] if (output / SHARD_LIST).is_file() else None
    listing, packed_keys = open_set(output, settings_sha256)
    owners: dict[str, ClipState] = {}
    samples = workspace.samples()
    decided = sorted(states, key=lambda state: state.source)
    for state in decided:  # what is packed has left no sample, and stays
        if state.status == Status.KEPT and state.key in packed_keys and state.row_id not in samples:
            owners.setdefault(state.key, state)
    for state in decided:
        if state.status == Status.KEPT and owners.setdefault(state.key, state) is not state:
            state.status, state.reason = Status.DROPPED, Reason.DUPLICATE
            state.detail = f"the same clip as {owners[state.key].source}"
    for key, state in owners.items():
        waits = key in packed_keys and state.row_id in samples
        if waits and sha256_of_file(workspace.sample(state.row_id)) != packed_keys[key]:
            raise ValueError(
                f"{state.source} is in the shards of {output} with another name, caption, answer or box: shards are "
                "never rewritten; put the row back as it was, or choose another output folder"
            )
    packed = {key: text for key, text in (fingerprints or {}).items() if key in packed_keys}
    repeats = _drop_near_duplicates(owners, duplicates, packed, packed_keys)
    new = [owners[key] for key in sorted(owners) if key not in packed_keys]
    shards, digests, counts = list(listing.shards), list(listing.index_sha256), list(listing.num_samples)
    for group in _groups(new, samples, shard_bytes):
        check_owner()
        path = output / f"clips-{len(shards):06d}.tar"
        write_shard(path, _contents(group, workspace))
        shards.append(path.name)
        digests.append(sha256_hex(index_path(path).read_bytes()))
        counts.append(len(group))
    listing = ShardList(
        shards=tuple(shards), index_sha256=tuple(digests), num_samples=tuple(counts), settings_sha256=settings_sha256
    )
    check_owner()
    if listing.to_json() != seen and not replace_if_unchanged(output / SHARD_LIST, listing.to_json(), seen):
        raise Superseded(f"{output / SHARD_LIST} has changed meanwhile: another run is at work; run again")
    gone = {state.key for state in repeats}
    for state in decided:
        if state.key in gone:  # a later run must not take it for a kept clip whose sample is gone
            write_atomic(workspace.outcome(state.row_id), state.to_json().encode())
    remove_many([workspace.sample(state.row_id) for state in decided if state.row_id in samples])
    remove_temporaries(output)
    return decided


def _drop_near_duplicates(
    owners: dict[str, ClipState],
    settings: DuplicateSettings | None,
    packed_fingerprints: Mapping[str, str],
    packed_keys: Mapping[str, str],
) -> list[ClipState]:
    """Take the near-duplicates out of the kept clips by key, and return their states, decided."""
    if settings is None:
        return []
    fingerprints = {key: state.fingerprint for key, state in owners.items() if state.fingerprint}
    fingerprints = dict(packed_fingerprints) | fingerprints
    packed = [key for key in fingerprints if key in packed_keys]
    dropped = []
    for key, kept in near_duplicates(fingerprints, settings, packed).items():
        state = owners.pop(key)
        bits = distance(fingerprints[key], fingerprints[kept])
        state.status, state.reason = Status.DROPPED, Reason.NEAR_DUPLICATE
        name = owners[kept].source if kept in owners else f"the packed clip {kept}"
        state.detail = f"looks like {name}: {bits} of 256 bits differ, at most {settings.max_distance}"
        dropped.append(state)
    return dropped


def _groups(states: list[ClipState], samples: Mapping[str, int], shard_bytes: int) -> Iterator[list[ClipState]]:
    group: list[ClipState] = []
    size = 0
    for state in states:
        length = samples[state.row_id]
        if group and size + length > shard_bytes:
            yield group
            group, size = [], 0
        group.append(state)
        size += length
    if group:
        yield group


def _contents(group: list[ClipState], workspace: Workspace) -> Iterator[tuple[str, bytes]]:
    for first in range(0, len(group), _READ_AHEAD):
        batch = group[first : first + _READ_AHEAD]
        contents = read_many([workspace.sample(state.row_id) for state in batch])
        yield from zip([state.key for state in batch], contents, strict=True)
