import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magdiff_curation.config import CurationSettings
from magdiff_curation.sources import list_inputs

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
        ("m.jsonl", '{"video": "a.mp4"}\n', "no column 'caption'"),
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
