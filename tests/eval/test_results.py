from pathlib import Path

import pytest

from magdiff_eval.results import RowFile, markdown


def test_rows_are_found_again_and_a_line_that_was_cut_is_done_again(tmp_path: Path) -> None:
    file = RowFile(tmp_path, {"seed": 1})
    file.append({"name": "a", "score": 1.5})
    file.append({"name": "b", "score": 2.5})
    content = (tmp_path / "rows.jsonl").read_bytes()
    (tmp_path / "rows.jsonl").write_bytes(content[:-5])
    again = RowFile(tmp_path, {"seed": 1})
    assert again.rows == [{"name": "a", "score": 1.5}]
    again.append({"name": "b", "score": 2.5})
    assert (tmp_path / "rows.jsonl").read_bytes() == content


def test_another_protocol_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    RowFile(tmp_path, {"seed": 1})
    with pytest.raises(ValueError, match="choose another --output"):
        RowFile(tmp_path, {"seed": 2})


def test_tables_become_markdown() -> None:
    assert markdown([("T", ["a", "b"], [["1", "2"]])]) == "### T\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"
