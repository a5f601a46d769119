import hashlib
import json
import os
from pathlib import Path

import pytest

from magdiff_eval.weights import check
from magdiff_eval.weights.check import MEMORY, check_file, sha256_remembered
from magdiff_eval.weights.registry import WeightsFile

CONTENT = b"weights " * 200_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def published(**more: object) -> WeightsFile:
    return WeightsFile(**{"name": "a.pt", "num_bytes": len(CONTENT), "sha256": SHA256, "source": "a page", **more})


def test_a_file_is_found_missing_or_wrong_with_both_values(tmp_path: Path) -> None:
    assert check_file(published(), tmp_path).told() == "missing"
    (tmp_path / "a.pt").write_bytes(CONTENT)
    found = check_file(published(), tmp_path)
    assert (found.state, found.sha256, found.num_bytes) == ("found", SHA256, 1_600_000)
    wrong = check_file(published(num_bytes=5_000_000), tmp_path)
    assert wrong.told() == "wrong size: 1,600,000 bytes, not 5,000,000"
    wrong = check_file(published(sha256="0" * 64), tmp_path)
    assert wrong.told() == f"wrong sha256: {SHA256}, not {'0' * 64}"


def test_a_file_that_nothing_is_known_of_is_said_to_be_unverified(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(CONTENT)
    checked = check_file(published(num_bytes=None, sha256=None), tmp_path)
    assert (checked.state, checked.sha256) == ("unverified", SHA256)


def test_other_names_are_looked_for_too(tmp_path: Path) -> None:
    (tmp_path / "b.pt").write_bytes(CONTENT)
    assert check_file(published(also_called=("b.pt",)), tmp_path).path == tmp_path / "b.pt"


def test_the_remedy_names_the_weights_folder_for_files_in_folders_below_it(tmp_path: Path) -> None:
    file = WeightsFile(name="model/config.json", source="get --to {folder}/model")
    assert check_file(file, tmp_path).remedy() == f"get --to {tmp_path}/model"


def test_a_hash_is_remembered_until_size_or_time_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(CONTENT)
    hashed = []

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(check, "sha256_of_file", counted)
    assert [sha256_remembered(path, tmp_path) for _ in range(3)] == [SHA256] * 3
    assert hashed == ["a.pt"]
    status = path.stat()
    assert json.loads((tmp_path / MEMORY).read_bytes()) == {"a.pt": [1_600_000, status.st_mtime_ns, SHA256]}
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert sha256_remembered(path, tmp_path) == hashlib.sha256(CONTENT[::-1]).hexdigest()
    assert len(hashed) == 2


@pytest.mark.parametrize("memory", [b"", b"[]", b'{"a.pt": 5}', b'{"a.pt": [1]}', b"\xff"])
def test_a_damaged_memory_is_written_anew(tmp_path: Path, memory: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(CONTENT)
    (tmp_path / MEMORY).write_bytes(memory)
    assert sha256_remembered(tmp_path / "a.pt", tmp_path) == SHA256
    assert json.loads((tmp_path / MEMORY).read_bytes())["a.pt"][2] == SHA256


def test_small_files_leave_no_memory_behind(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"small")
    assert sha256_remembered(tmp_path / "a.pt", tmp_path) == hashlib.sha256(b"small").hexdigest()
    assert not (tmp_path / MEMORY).exists()
