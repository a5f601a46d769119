import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from object_store import object_store

from magdiff_curation import commit as commit_module
from magdiff_curation.clips.index import load_shard_list
from magdiff_curation.clips.location import location
from magdiff_curation.clips.masks import encode_rle
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.clips.video import encode
from magdiff_curation.commit import Workspace, all_committed, commit, open_set, pack
from magdiff_curation.duplicates import DuplicateSettings
from magdiff_curation.state import ClipState
from magdiff_curation.toyworld.scene import render, sample_scene

NEAR = DuplicateSettings(method="phash", max_distance=4)


def kept(output: Path, name: str, key: str, caption: str = "a fish", fingerprint: int | None = None) -> ClipState:
    """Commit a clip as the stages would leave it, and return its state."""
    frames, masks = render(sample_scene(7, 0), height=64, width=64, num_frames=8)
    state = ClipState(source=name, path=name, caption=caption, fields={}, key=key, label="fish", category="animal")
    state.width = state.height = 64
    state.num_frames, state.frame_rate = 8, 8.0
    state.fingerprint = "" if fingerprint is None else f"{fingerprint:064x}"
    workspace = Workspace(output)
    workspace.video(state.row_id).parent.mkdir(parents=True, exist_ok=True)
    workspace.video(state.row_id).write_bytes(encode(frames, 8))
    workspace.masks(state.row_id).write_text(json.dumps([encode_rle(mask) for mask in masks]))
    commit(workspace, state)
    return state


def of_earlier_runs(output: Path, states: list[ClipState]) -> list[ClipState]:
    """Return the states as a later run finds them; fails where it would do one of them again."""
    _, packed_keys = open_set(output, "s")
    found = all_committed(Workspace(output), states, packed_keys)
    assert len(found) == len(states)
    return found


def reasons(states: list[ClipState]) -> dict[str, str]:
    return {state.source: str(state.reason) for state in states}


def products(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}


def packed(output: Path) -> list[str]:
    return [clip.record.key for shard in load_shard_list(output).shards for clip in ShardReader(output / shard)]


def test_clips_are_packed_by_key_and_added_ones_leave_old_shards_alone(tmp_path: Path) -> None:
    first = [kept(tmp_path, "x", "b"), kept(tmp_path, "y", "a")]
    pack(Workspace(tmp_path), first, "s", 10**9)
    before = (tmp_path / "clips-000000.tar").read_bytes()
    pack(Workspace(tmp_path), [*first, kept(tmp_path, "z", "0")], "s", 10**9)
    assert (tmp_path / "clips-000000.tar").read_bytes() == before
    assert packed(tmp_path) == ["a", "b", "0"]


def test_shards_close_before_they_grow_past_their_size(tmp_path: Path) -> None:
    states = [kept(tmp_path, str(index), str(index)) for index in range(3)]
    size = Workspace(tmp_path).sample(states[0].row_id).stat().st_size
    pack(Workspace(tmp_path), states, "s", 2 * size)
    assert load_shard_list(tmp_path).num_samples == (2, 1)


def test_of_two_inputs_with_one_key_the_first_by_name_is_kept(tmp_path: Path) -> None:
    states = pack(Workspace(tmp_path), [kept(tmp_path, "b", "k"), kept(tmp_path, "a", "k")], "s", 10**9)
    assert [(state.source, state.status, state.reason) for state in states] == [
        ("a", "kept", "kept"),
        ("b", "dropped", "duplicate"),
    ]
    assert packed(tmp_path) == ["k"]


def test_a_packed_clip_that_comes_out_differently_is_refused(tmp_path: Path) -> None:
    pack(Workspace(tmp_path), [kept(tmp_path, "a", "k")], "s", 10**9)
    pack(Workspace(tmp_path), [kept(tmp_path, "a", "k")], "s", 10**9)  # the same again is no news
    with pytest.raises(ValueError, match="another name, caption"):
        pack(Workspace(tmp_path), [kept(tmp_path, "a", "k", caption="a red fish")], "s", 10**9)


def test_other_settings_need_another_folder(tmp_path: Path) -> None:
    states = [kept(tmp_path, "a", "k")]
    pack(Workspace(tmp_path), states, "s", 10**9)
    with pytest.raises(ValueError, match="choose another output folder"):
        pack(Workspace(tmp_path), [replace(state) for state in states], "t", 10**9)


def test_of_clips_that_look_the_same_the_lowest_key_is_kept(tmp_path: Path) -> None:
    states = [
        kept(tmp_path, "a", "k9", fingerprint=0b0000),
        kept(tmp_path, "b", "k1", fingerprint=0b0011),
        kept(tmp_path, "c", "k5", fingerprint=0b1111),
        kept(tmp_path, "d", "k3", fingerprint=0xFF00),
    ]
    decided = pack(Workspace(tmp_path), states, "s", 10**9, NEAR)
    assert reasons(decided) == {"a": "near_duplicate", "b": "kept", "c": "near_duplicate", "d": "kept"}
    assert [state.status for state in decided] == ["dropped", "kept", "dropped", "kept"]
    assert decided[0].detail == "looks like b: 2 of 256 bits differ, at most 4"
    assert packed(tmp_path) == ["k1", "k3"]


def test_clips_without_a_fingerprint_look_like_no_other(tmp_path: Path) -> None:
    states = [kept(tmp_path, "a", "k1"), kept(tmp_path, "b", "k2"), kept(tmp_path, "c", "k3", fingerprint=0)]
    assert set(reasons(pack(Workspace(tmp_path), states, "s", 10**9, NEAR)).values()) == {"kept"}


def test_a_packed_clip_stays_where_similar_ones_are_added(tmp_path: Path) -> None:
    first = [kept(tmp_path, "b", "k5", fingerprint=0)]
    pack(Workspace(tmp_path), first, "s", 10**9, NEAR)
    before = products(tmp_path)
    later = [kept(tmp_path, "a", "k1", fingerprint=1), kept(tmp_path, "c", "k7", fingerprint=0xFF00)]
    decided = pack(Workspace(tmp_path), [*of_earlier_runs(tmp_path, first), *later], "s", 10**9, NEAR)
    assert reasons(decided) == {"a": "near_duplicate", "b": "kept", "c": "kept"}
    assert packed(tmp_path) == ["k5", "k7"]
    assert products(tmp_path)["clips-000000.tar"] == before["clips-000000.tar"]


def test_running_again_decides_nothing_anew(tmp_path: Path) -> None:
    states = [
        kept(tmp_path, "a", "k2", fingerprint=0),
        kept(tmp_path, "b", "k1", fingerprint=1),
        kept(tmp_path, "c", "k2", fingerprint=0),  # the same clip as a, which looks like b
        kept(tmp_path, "d", "k1", fingerprint=1),
    ]
    decided = pack(Workspace(tmp_path), states, "s", 10**9, NEAR)
    assert reasons(decided) == {"a": "near_duplicate", "b": "kept", "c": "duplicate", "d": "duplicate"}
    before = products(tmp_path)
    again = pack(Workspace(tmp_path), of_earlier_runs(tmp_path, states), "s", 10**9, NEAR)
    assert again == decided
    assert products(tmp_path) == before


@pytest.mark.parametrize("write", [1, 2])
def test_a_run_killed_while_it_records_near_duplicates_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    def inputs(output: Path) -> list[ClipState]:
        looks = {"a": ("k3", 0b0011), "b": ("k1", 0), "c": ("k2", 0b1111), "d": ("k4", 0xFF00)}
        return [kept(output, name, key, fingerprint=value) for name, (key, value) in looks.items()]

    expected = pack(Workspace(tmp_path / "whole"), inputs(tmp_path / "whole"), "s", 10**9, NEAR)
    assert reasons(expected) == {"a": "near_duplicate", "b": "kept", "c": "near_duplicate", "d": "kept"}

    output = tmp_path / "killed"
    states, write_atomic, written = inputs(output), commit_module.write_atomic, []

    def dying_write(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) == write:
            raise KeyboardInterrupt
        write_atomic(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(commit_module, "write_atomic", dying_write)
        with pytest.raises(KeyboardInterrupt):
            pack(Workspace(output), [replace(state) for state in states], "s", 10**9, NEAR)
    assert (output / "shards.json").is_file()
    assert all("outcomes" in str(path) for path in written)

    decided = pack(Workspace(output), of_earlier_runs(output, states), "s", 10**9, NEAR)
    assert decided == expected
    assert products(output) == products(tmp_path / "whole")
    assert pack(Workspace(output), of_earlier_runs(output, states), "s", 10**9, NEAR) == expected


def test_the_same_bytes_under_an_earlier_name_are_a_duplicate_of_what_is_packed(tmp_path: Path) -> None:
    pack(Workspace(tmp_path), [kept(tmp_path, "z", "k")], "s", 10**9)
    packed = kept(tmp_path, "z", "k")
    Workspace(tmp_path).sample(packed.row_id).unlink()
    decided = pack(Workspace(tmp_path), [kept(tmp_path, "a", "k"), packed], "s", 10**9)
    assert {state.source: state.reason for state in decided} == {"a": "duplicate", "z": "kept"}


def test_a_clip_that_looks_like_one_that_another_run_packed_is_dropped(tmp_path: Path) -> None:
    looks = {"k1": "0" * 64, "k2": "0" * 63 + "1"}
    phash = DuplicateSettings(method="phash")
    first, second = kept(tmp_path, "a", "k1"), kept(tmp_path, "b", "k2")
    first.fingerprint, second.fingerprint = looks["k1"], looks["k2"]
    pack(Workspace(tmp_path), [first], "s", 10**9, phash)
    (decided,) = pack(Workspace(tmp_path), [second], "s", 10**9, phash, {"k1": looks["k1"]})
    assert decided.reason == "near_duplicate"
    assert "the packed clip k1" in decided.detail


def test_on_s3_a_later_run_asks_for_nothing_but_lists_and_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    asked: Counter[str] = Counter()
    call = s3fs.S3FileSystem._call_s3

    async def counted(self: s3fs.S3FileSystem, method: str, *arguments: object, **options: object) -> object:
        asked[method] += 1
        return await call(self, method, *arguments, **options)

    with object_store() as url:
        output = location(url + "/curated")
        states = [kept(output, name, name) for name in "abc"]
        monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
        assert len(all_committed(Workspace(output), states, {})) == 3
        assert asked == {"list_objects_v2": 2, "get_object": 3}
        asked.clear()
        pack(Workspace(output), states, "s", 10**9)
        assert (asked["get_object"], asked["delete_objects"], asked["delete_object"]) == (4, 1, 0)
        assert packed(output) == ["a", "b", "c"]
        assert not Workspace(output).samples()
