import datetime
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_store import object_store

from magdiff_curation.clips.atomic import list_files, write_atomic
from magdiff_curation.clips.location import location
from magdiff_curation.config import CurationSettings
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.sources import list_inputs, local_copy
from magdiff_curation.state import ClipState

ROWS = [
    {"video": "b.mp4", "caption": "a bird", "answer": "a bird", "box": "1 2 3 4"},
    {"video": "a.mp4", "caption": "an ant", "answer": "an ant", "box": ""},
    {"video": "a.mp4", "caption": "the ant again", "answer": "an ant", "box": ""},
]


def write_manifest(folder: Path, kind: str) -> Path:
    path = folder / f"manifest.{kind}"
    if kind == "csv":
        lines = [",".join(ROWS[0]), *(",".join(row.values()) for row in ROWS)]
        path.write_text("\n".join(lines))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_kind_of_manifest_lists_the_same_inputs(tmp_path: Path, kind: str) -> None:
    states = list_inputs(CurationSettings(source=write_manifest(tmp_path, kind)))
    assert [(state.source, state.caption) for state in states] == [
        ("a.mp4", "an ant"),
        ("a.mp4#2", "the ant again"),
        ("b.mp4", "a bird"),
    ]
    assert states[0].fields == {"answer": "an ant"}
    assert states[2].fields["box"] == "1 2 3 4"
    assert len({state.row_id for state in states}) == 3


def test_a_folder_takes_captions_from_sidecars(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.MP4").write_bytes(b"")
    (tmp_path / "deep" / "x.txt").write_text(" a cat \n")
    (tmp_path / "y.mov").write_bytes(b"")
    (tmp_path / "notes.pdf").write_bytes(b"")
    states = list_inputs(CurationSettings(source=tmp_path))
    assert [(state.source, state.caption) for state in states] == [("deep/x.MP4", "a cat"), ("y.mov", "")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.txt", "x", "unknown kind"),
        ("m.jsonl", '{"video": "a.mp4"}\n', "row 1 has no column 'caption'; its columns are video"),
        (
            "m.jsonl",
            '{"file": "a.mp4", "caption": "x"}\n',
            "row 1 has no column 'video'; its columns are file, caption",
        ),
        ("m.jsonl", "{", "line 1 is not JSON"),
        ("m.jsonl", "", "holds no inputs"),
    ],
)
def test_unusable_manifests_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        list_inputs(CurationSettings(source=path))


def test_a_missing_source_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"magdiff_curation\.toyworld dataset"):
        list_inputs(CurationSettings(source=tmp_path / "nothing"))


def test_a_changed_file_is_a_new_input(tmp_path: Path) -> None:
    video = tmp_path / "x.mp4"
    video.write_bytes(b"one")
    before = list_inputs(CurationSettings(source=tmp_path))[0].row_id
    assert list_inputs(CurationSettings(source=tmp_path))[0].row_id == before
    video.write_bytes(b"other")
    assert list_inputs(CurationSettings(source=tmp_path))[0].row_id != before


def write_rows(folder: Path, *rows: dict[str, object]) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_of_several_caption_columns_the_first_that_is_filled_is_taken(tmp_path: Path) -> None:
    source = write_rows(
        tmp_path,
        {"video": "a.mp4", "human": "a cat sleeps", "title": "cat"},
        {"video": "b.mp4", "human": "  ", "title": "a dog"},
        {"video": "c.mp4", "human": None, "title": "a cow"},
        {"video": "d.mp4", "title": "a pig"},
        {"video": "e.mp4", "human": None, "title": ""},
    )
    states = list_inputs(CurationSettings(source=source, caption_columns=("human", "title")))
    assert [state.caption for state in states] == ["a cat sleeps", "a dog", "a cow", "a pig", ""]
    assert [state.fields for state in states] == [{}] * 5
    backwards = list_inputs(CurationSettings(source=source, caption_columns=("title", "human")))
    assert [state.caption for state in backwards] == ["cat", "a dog", "a cow", "a pig", ""]


def test_a_row_with_none_of_the_caption_columns_is_refused_with_their_names(tmp_path: Path) -> None:
    source = write_rows(tmp_path, {"video": "a.mp4", "human": "x"}, {"video": "b.mp4"})
    with pytest.raises(ValueError, match="row 2 has no column 'human' or 'title'; its columns are video"):
        list_inputs(CurationSettings(source=source, caption_columns=("human", "title")))


def test_what_json_cannot_hold_becomes_text_or_nothing(tmp_path: Path) -> None:
    day = datetime.date(2024, 2, 3)
    row = {"video": "a.mp4", "caption": "a cat", "day": day, "score": math.nan, "bytes": b"x", "box": [1.0, math.nan]}
    path = tmp_path / "manifest.parquet"
    pq.write_table(pa.Table.from_pylist([row, {**row, "video": "b.mp4", "score": math.inf, "caption": None}]), path)
    first, second = list_inputs(CurationSettings(source=path))
    assert first.fields == {"day": "2024-02-03", "bytes": "b'x'", "box": [1.0, None]}
    assert second.fields == {**first.fields, "score": "inf"}
    assert second.caption == ""
    for state in (first, second):
        assert len(state.row_id) == 24
        assert ClipState.from_json(state.to_json()) == state


def test_half_characters_in_a_caption_do_not_stop_a_run(tmp_path: Path) -> None:
    source = tmp_path / "manifest.jsonl"
    source.write_text(
        '{"video": "a.mp4", "caption": "a dog \\ud83d", "answer": ["\\udc36"], "\\ud83d": {"\\ud83d": 1}}\n'
    )
    (state,) = list_inputs(CurationSettings(source=source))
    assert state.caption == "a dog ?"
    assert state.fields == {"answer": ["?"], "?": {"?": 1}}
    assert ClipState.from_json(state.to_json()) == state


def test_a_file_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")).write_bytes(b"")
    with pytest.raises(ValueError, match=r"the name of the file .*caf.*mp4' is not UTF-8: rename it"):
        list_inputs(CurationSettings(source=tmp_path))


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_store() as url:
        yield url


def put(url: str, content: bytes) -> str:
    store: Any = location(url.partition("::")[0])
    store.fs.pipe_file(url, content)
    return url


def test_a_folder_on_an_object_store_lists_as_it_does_on_a_disk(bucket: str, tmp_path: Path) -> None:
    files = {"deep/x.MP4": b"video", "deep/x.txt": " ein Käfer \n".encode(), "y.mov": b"", "z.txt": b"no video"}
    for name, content in files.items():
        put(f"{bucket}/folder/{name}", content)
        write_atomic(tmp_path / name, content)
    put(f"{bucket}/folder-not/z.mp4", b"")
    states = list_inputs(CurationSettings(source=Path(f"{bucket}/folder")))
    local = list_inputs(CurationSettings(source=tmp_path))
    for one, other in zip(states, local, strict=True):
        assert (one.source, one.caption, one.size_bytes) == (other.source, other.caption, other.size_bytes)
    assert [state.path for state in states] == [f"{bucket}/folder/deep/x.MP4", f"{bucket}/folder/y.mov"]
    assert states[0].modified_ns > 10**18
    assert states == [ClipState.from_json(state.to_json()) for state in states]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_manifest_on_an_object_store_asks_once_for_all_its_videos(bucket: str, tmp_path: Path, kind: str) -> None:
    source = put(f"{bucket}/{kind}/manifest.{kind}", write_manifest(tmp_path, kind).read_bytes())
    put(f"{bucket}/{kind}/a.mp4", b"123")
    store: Any = location(source)
    with mock.patch.object(store.fs.s3, "_make_api_call", wraps=store.fs.s3._make_api_call) as asked:
        states = list_inputs(CurationSettings(source=Path(source)))
    assert [(state.source, state.path, state.size_bytes) for state in states] == [
        ("a.mp4", f"{bucket}/{kind}/a.mp4", 3),
        ("a.mp4#2", f"{bucket}/{kind}/a.mp4", 3),
        ("b.mp4", f"{bucket}/{kind}/b.mp4", -1),
    ]
    listed = [call.args[1]["Prefix"] for call in asked.call_args_list if call.args[0] == "ListObjectsV2"]
    assert listed.count(f"{kind}/") == 1
    assert len(asked.call_args_list) < 8


def test_rows_name_videos_beside_above_and_in_other_buckets(bucket: str) -> None:
    put(f"{bucket}/rows/videos/a::b.mp4", b"1")
    put(f"{bucket}/rows/other/c.mp4", b"12")
    names = [
        "../videos/a::b.mp4",
        f"{bucket}/rows/other/c.mp4",
        "s3://not-there/d.mp4",
        "s3://?/e.mp4",
        "s3://",
        "/f.mp4",
    ]
    rows = "".join(json.dumps({"video": name, "caption": "x"}) + "\n" for name in names)
    source = put(f"{bucket}/rows/lists/m.jsonl", rows.encode())
    found = {state.source: state for state in list_inputs(CurationSettings(source=Path(source)))}
    assert [found[name].size_bytes for name in names] == [1, 2, -1, -1, -1, -1]
    assert found["/f.mp4"].path == f"{bucket}/rows/lists/f.mp4"
    with local_copy(found["../videos/a::b.mp4"].path) as path:
        assert path.read_bytes() == b"1"
    for name in names[2:]:
        with pytest.raises(ClipRejected, match="is not there") as caught, local_copy(found[name].path):
            pass
        assert caught.value.reason == Reason.SOURCE_MISSING


def test_a_local_manifest_may_name_objects(bucket: str, tmp_path: Path) -> None:
    url = put(f"{bucket}/named/v.mp4", b"1234")
    (tmp_path / "w.mp4").write_bytes(b"12345")
    source = write_rows(tmp_path, {"video": url, "caption": "x"}, {"video": "w.mp4", "caption": "y"})
    states = list_inputs(CurationSettings(source=source))
    assert [(state.path, state.size_bytes) for state in states] == [(url, 4), (str(tmp_path / "w.mp4"), 5)]


def test_a_changed_object_is_a_new_input(bucket: str) -> None:
    url = put(f"{bucket}/changed/x.mp4", b"one")
    settings = CurationSettings(source=Path(f"{bucket}/changed"))
    before = list_inputs(settings)[0].row_id
    assert list_inputs(settings)[0].row_id == before
    put(url, b"other")
    assert list_inputs(settings)[0].row_id != before


def test_sources_that_are_not_in_the_store_are_named(bucket: str) -> None:
    with pytest.raises(ValueError, match=f"source '{bucket}/nothing' does not exist"):
        list_inputs(CurationSettings(source=Path(f"{bucket}/nothing")))
    with pytest.raises(FileNotFoundError, match="s3://not-there/x"):
        list_inputs(CurationSettings(source=Path("s3://not-there/x")))
    put(f"{bucket}/colons/a::b.mp4", b"")
    with pytest.raises(ValueError, match="has '::' in it: rename it"):
        list_inputs(CurationSettings(source=Path(f"{bucket}/colons")))


def test_a_local_copy_lasts_as_long_as_it_is_used(bucket: str, tmp_path: Path) -> None:
    url = put(f"{bucket}/copied/v.MP4", b"1234")
    with local_copy(url) as path:
        assert (path.read_bytes(), path.suffix) == (b"1234", ".MP4")
    assert not path.exists()
    assert not path.parent.exists()
    (tmp_path / "v.mp4").write_bytes(b"")
    with local_copy(str(tmp_path / "v.mp4")) as path:
        assert path == tmp_path / "v.mp4"
    assert list(list_files(tmp_path)) == ["v.mp4"]
