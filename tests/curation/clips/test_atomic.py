from pathlib import Path

import pytest

from magdiff_curation.clips.atomic import atomic_file, canonical_json, remove_temporaries, write_atomic


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomic(path, b"old")
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write(b"half of the n")
        raise RuntimeError("killed")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_target_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.json"
    with atomic_file(path) as file:
        file.write(b"all")
        assert not path.exists()
    assert path.read_bytes() == b"all"


def test_strays_of_killed_writers_are_removed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".clips.tar.17.abcd.tmp").write_bytes(b"half")
    (tmp_path / "a" / "kept.tar").write_bytes(b"whole")
    assert remove_temporaries(tmp_path) == 1
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept.tar"]


def test_canonical_json_does_not_depend_on_the_order_of_keys_and_refuses_nan() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1}) == '{"a":"é","b":1}'.encode()
    with pytest.raises(ValueError):
        canonical_json({"score": float("nan")})
