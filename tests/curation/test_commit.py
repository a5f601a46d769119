import json
from dataclasses import replace
from pathlib import Path

import pytest

from magdiff_curation.clips.index import load_shard_list
from magdiff_curation.clips.masks import encode_rle
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.clips.video import encode
from magdiff_curation.commit import Workspace, commit, pack
from magdiff_curation.state import ClipState
from magdiff_curation.toyworld.scene import render, sample_scene


def kept(output: Path, name: str, key: str, caption: str = "a fish") -> ClipState:
    """Commit a clip as the stages would leave it, and return its state."""
    frames, masks = render(sample_scene(7, 0), height=64, width=64, num_frames=8)
    state = ClipState(source=name, path=name, caption=caption, fields={}, key=key, label="fish", category="animal")
    state.width = state.height = 64
    state.num_frames, state.frame_rate = 8, 8.0
    workspace = Workspace(output)
    workspace.video(state.row_id).parent.mkdir(parents=True, exist_ok=True)
    workspace.video(state.row_id).write_bytes(encode(frames, 8))
    workspace.masks(state.row_id).write_text(json.dumps([encode_rle(mask) for mask in masks]))
    commit(workspace, state)
    return state


def packed(output: Path) -> list[str]:
    return [clip.record.key for shard in load_shard_list(output).shards for clip in ShardReader(output / shard)]


def test_clips_are_packed_by_key_and_added_ones_leave_old_shards_alone(tmp_path: Path) -> None:
    first = [kept(tmp_path, "x", "b"), kept(tmp_path, "y", "a")]
    pack(tmp_path, first, "s", 10**9)
    before = (tmp_path / "clips-000000.tar").read_bytes()
    pack(tmp_path, [*first, kept(tmp_path, "z", "0")], "s", 10**9)
    assert (tmp_path / "clips-000000.tar").read_bytes() == before
    assert packed(tmp_path) == ["a", "b", "0"]


def test_shards_close_before_they_grow_past_their_size(tmp_path: Path) -> None:
    states = [kept(tmp_path, str(index), str(index)) for index in range(3)]
    size = Workspace(tmp_path).sample(states[0].row_id).stat().st_size
    pack(tmp_path, states, "s", 2 * size)
    assert load_shard_list(tmp_path).num_samples == (2, 1)


def test_of_two_inputs_with_one_key_the_first_by_name_is_kept(tmp_path: Path) -> None:
    states = pack(tmp_path, [kept(tmp_path, "b", "k"), kept(tmp_path, "a", "k")], "s", 10**9)
    assert [(state.source, state.status, state.reason) for state in states] == [
        ("a", "kept", "kept"),
        ("b", "dropped", "duplicate"),
    ]
    assert packed(tmp_path) == ["k"]


def test_a_packed_clip_that_comes_out_differently_is_refused(tmp_path: Path) -> None:
    pack(tmp_path, [kept(tmp_path, "a", "k")], "s", 10**9)
    pack(tmp_path, [kept(tmp_path, "a", "k")], "s", 10**9)  # the same again is no news
    with pytest.raises(ValueError, match="another caption"):
        pack(tmp_path, [kept(tmp_path, "a", "k", caption="a red fish")], "s", 10**9)


def test_other_settings_need_another_folder(tmp_path: Path) -> None:
    states = [kept(tmp_path, "a", "k")]
    pack(tmp_path, states, "s", 10**9)
    with pytest.raises(ValueError, match="choose another output folder"):
        pack(tmp_path, [replace(state) for state in states], "t", 10**9)
