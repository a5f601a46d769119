import json
from pathlib import Path

import pytest

from magdiff_eval.scoring.items import ScoredItem, read_items


def test_lines_become_items_with_paths_from_the_files_folder(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    (tmp_path / "clip").mkdir()
    lines = [
        {"name": "bear/style", "prompt": "a bear", "references": ["a.png", "b.png"], "source": "clip"},
        {"name": "wolf"},
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n", encoding="utf-8")
    found = read_items(path)
    references = (tmp_path / "a.png", tmp_path / "b.png")
    first = ScoredItem(name="bear/style", prompt="a bear", references=references, source=tmp_path / "clip")
    assert found == {"bear/style": first, "wolf": ScoredItem(name="wolf")}


def test_a_csv_from_windows_says_the_same(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    text = '\ufeffname,prompt,references\r\nbär,"a bear, brown",a.png;b.png\r\nwolf,,\r\n'
    (tmp_path / "items.csv").write_bytes(text.encode())
    found = read_items(tmp_path / "items.csv")
    assert found["bär"].prompt == "a bear, brown"
    assert [path.name for path in found["bär"].references] == ["a.png", "b.png"]
    assert found["wolf"] == ScoredItem(name="wolf")


def test_every_wrong_line_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    lines = [
        '{"name": "a"}',
        '{"name": "a"}',
        '{"prompt": "no name"}',
        "no json",
        '{"name": "b", "promt": "x"}',
        '{"name": "c", "references": ["gone.png"]}',
        '{"name": "d", "prompt": 3}',
        '{"name": "e", "references": ["a.png"], "reference_masks": ["a.png", "a.png"]}',
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="has 7 faults") as raised:
        read_items(path)
    told = str(raised.value)
    for part in (
        "line 3: it names no video",
        "line 4: it names no video",
        "line 5: 'promt' is no column",
        "line 6: references: there is no",
        "line 7: prompt is 3: need a text",
        "line 8: 1 references and 2 masks",
        "a is there 2 times",
    ):
        assert part in told


def test_other_files_and_empty_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").touch()
    with pytest.raises(ValueError, match="has no line"):
        read_items(tmp_path / "items.jsonl")
    with pytest.raises(ValueError, match=r"give a \.jsonl or a \.csv"):
        read_items(tmp_path / "items.txt")
