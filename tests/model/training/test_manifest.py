import os
import shutil
from pathlib import Path

import pytest
from model.training.saved import names, newest, save

from magdiff_curation.clips.atomic import sha256_of_file
from magdiff_model.training import manifest
from magdiff_model.training.checkpoints import newest_checkpoint


def test_every_byte_of_the_manifest_counts(tmp_path: Path) -> None:
    save(tmp_path, 1)
    path = save(tmp_path, 2) / "manifest.json"
    written = path.read_bytes()
    for position in range(len(written)):
        for mask in (0x01, 0x20):
            path.write_bytes(written[:position] + bytes([written[position] ^ mask]) + written[position + 1 :])
            found = newest_checkpoint(tmp_path, lambda line: None)
            assert found is not None
            assert found.step == 1, (position, mask)


def test_what_else_can_be_wrong_is_named(tmp_path: Path) -> None:
    save(tmp_path, 1)
    folders = [save(tmp_path, step, keep=9) for step in (2, 3, 4, 5, 6)]
    (folders[0] / "weights.safetensors").unlink()
    (folders[1] / "manifest.json").unlink()
    with (folders[2] / "state.json").open("ab") as file:
        file.write(b" ")
    (folders[3] / "optimizer.safetensors").unlink()
    (folders[3] / "optimizer.safetensors").mkdir()
    shutil.rmtree(folders[4])
    shutil.copytree(folders[2].with_name("step-00000001"), folders[4])
    size = (folders[2] / "state.json").stat().st_size
    lines: list[str] = []

    found = newest_checkpoint(tmp_path, lines.append)

    assert found is not None
    assert found.step == 1
    assert lines[0] == f"passed over {folders[4]}: manifest.json: of step 1"
    assert lines[1].startswith(f"passed over {folders[3]}: optimizer.safetensors: ")
    assert lines[2:] == [
        f"passed over {folders[2]}: state.json: grown to {size} of {size - 1} bytes",
        f"passed over {folders[1]}: manifest.json: missing",
        f"passed over {folders[0]}: weights.safetensors: missing",
    ]


def test_a_file_that_the_manifest_does_not_list_is_no_part(tmp_path: Path) -> None:
    (save(tmp_path, 1) / "other.safetensors").write_bytes(b"no tensors")
    assert set(newest(tmp_path).tensors) == {"weights", "optimizer"}


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read through to see whether they are as written; as in a process that has read none."""
    found: list[Path] = []

    def note(path: Path) -> str:
        found.append(path)
        return sha256_of_file(path)

    monkeypatch.setattr(manifest, "_read", {})
    monkeypatch.setattr(manifest, "sha256_of_file", note)
    return found


def flip(path: Path) -> None:
    """Change the last byte of a file, and not its size."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_rotation_reads_no_checkpoint_that_this_process_wrote(tmp_path: Path, hashed: list[Path]) -> None:
    for step in range(1, 7):
        save(tmp_path, step, keep=2)
    assert names(tmp_path) == ["step-00000005", "step-00000006"]
    assert hashed == []


def test_rotation_reads_checkpoints_of_other_processes_once(
    tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    monkeypatch.setattr(manifest, "_read", {})
    assert newest(tmp_path).step == 3  # as a run does that goes on
    assert {path.parent.name for path in hashed} == {"step-00000003"}
    hashed.clear()
    save(tmp_path, 4)
    assert {path.parent.name for path in hashed} == {"step-00000002"}
    hashed.clear()
    for step in (5, 6):
        save(tmp_path, step)
    assert hashed == []
    assert names(tmp_path) == ["step-00000004", "step-00000005", "step-00000006"]


def test_one_that_another_process_wrote_and_that_is_damaged_does_not_count(tmp_path: Path, hashed: list[Path]) -> None:
    folders = [save(tmp_path, step) for step in (1, 2, 3)]
    manifest._read.clear()
    flip(folders[2] / "weights.safetensors")
    for step in (4, 5):
        save(tmp_path, step, keep=3)
    assert names(tmp_path) == [f"step-0000000{step}" for step in (2, 3, 4, 5)]


def test_one_that_was_found_damaged_counts_no_more_though_this_process_wrote_it(tmp_path: Path) -> None:
    folders = [save(tmp_path, step) for step in (1, 2, 3)]
    flip(folders[2] / "optimizer.safetensors")
    lines: list[str] = []
    found = newest_checkpoint(tmp_path, lines.append)
    assert found is not None
    assert found.step == 2
    assert "optimizer.safetensors: sha256 differs" in lines[0]
    save(tmp_path, 4, keep=2)
    assert names(tmp_path) == ["step-00000002", "step-00000003", "step-00000004"]


@pytest.mark.parametrize("name", ["weights.safetensors", "state.json", "manifest.json"])
def test_a_file_that_shrank_or_went_is_seen_without_reading_it(tmp_path: Path, hashed: list[Path], name: str) -> None:
    folders = [save(tmp_path, step) for step in (1, 2, 3)]
    os.truncate(folders[2] / name, 9)
    (folders[1] / name).unlink()
    save(tmp_path, 4, keep=2)
    assert names(tmp_path) == [f"step-0000000{step}" for step in (1, 2, 3, 4)]
    assert hashed == []


def test_another_checkpoint_under_a_name_that_is_known_is_read(tmp_path: Path, hashed: list[Path]) -> None:
    other = save(tmp_path / "other", 2, content=7)
    folders = [save(tmp_path / "own", step) for step in (1, 2)]
    shutil.rmtree(folders[1])
    shutil.copytree(other, folders[1])
    flip(folders[1] / "weights.safetensors")
    save(tmp_path / "own", 3, keep=2)
    assert names(tmp_path / "own") == ["step-00000001", "step-00000002", "step-00000003"]
    assert {path.parent for path in hashed} == {folders[1]}
