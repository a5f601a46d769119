import datetime
import json
import math
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magdiff_curation.config import CurationSettings
from magdiff_curation.sources import list_inputs
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
