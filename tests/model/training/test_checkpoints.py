import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from model.training.saved import names, newest, save, tensors
from safetensors import SafetensorError
from torch import Tensor

from magdiff_model.training import checkpoints
from magdiff_model.training.checkpoints import Checkpoint, check_room, newest_checkpoint, save_checkpoint


def test_every_bit_comes_back_in_the_dtype_it_had(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    bits = torch.randint(0, 256, (48,), generator=generator, dtype=torch.uint8)
    dtypes = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.uint8)
    named = {str(dtype): bits.view(dtype) for dtype in dtypes}  # all of the same memory, NaN patterns and all
    named["bool"] = torch.tensor([True, False])
    named["scalar"] = torch.tensor(7)
    named["empty"] = torch.zeros(0, 4, dtype=torch.bfloat16)
    named["transposed"] = torch.arange(12.0).reshape(3, 4).T
    named["parameter"] = torch.nn.Parameter(torch.ones(2))

    save_checkpoint(tmp_path, 5, {"weights": named, "ema": {}}, {}, keep=1)

    found = newest(tmp_path)
    assert (found.step, found.folder.name, set(found.tensors)) == (5, "step-00000005", {"weights", "ema"})
    assert found.tensors["ema"] == {}
    assert set(found.tensors["weights"]) == set(named)
    for name, value in named.items():
        loaded = found.tensors["weights"][name]
        assert (loaded.dtype, loaded.shape) == (value.dtype, value.shape), name
        assert raw_bytes(loaded) == raw_bytes(value), name


def raw_bytes(tensor: Tensor) -> bytes:
    return tensor.detach().flatten().view(torch.uint8).numpy().tobytes()


def test_changing_a_loaded_tensor_leaves_the_checkpoint_as_it_is(tmp_path: Path) -> None:
    save(tmp_path, 1)
    newest(tmp_path).tensors["weights"]["conv.weight"].zero_()
    assert torch.equal(newest(tmp_path).tensors["weights"]["conv.weight"], tensors(1)["weights"]["conv.weight"])


def test_nothing_is_found_where_nothing_was_saved(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / "absent") is None
    (tmp_path / ".step-00000001.01234567.tmp").mkdir()
    (tmp_path / "step-00000001-copy").mkdir()
    assert newest_checkpoint(tmp_path) is None


def damaged_copies(root: Path, damage: Callable[[Path], str]) -> Iterator[tuple[str, list[str], Checkpoint | None]]:
    """Yield, twenty times, what was done to a file of the newest of two checkpoints, and what is found then.

    Every file has its turn.
    """
    whole, copy = root / "whole", root / "copy"
    save(whole, 1)
    files = sorted(save(whole, 2).iterdir())
    assert len(files) == 4
    for number in range(20):
        shutil.copytree(whole, copy)
        done = damage(copy / "step-00000002" / files[number % len(files)].name)
        lines: list[str] = []
        yield done, lines, newest_checkpoint(copy, lines.append)
        shutil.rmtree(copy)


def test_a_flipped_byte_anywhere_is_named_and_the_checkpoint_before_is_used(tmp_path: Path) -> None:
    chosen = random.Random(7)

    def flip(path: Path) -> str:
        content = bytearray(path.read_bytes())
        content[chosen.randrange(len(content))] ^= chosen.randrange(1, 256)
        path.write_bytes(content)
        what = "unreadable" if path.name == "manifest.json" else "sha256 differs"
        return f"step-00000002: {path.name}: {what}"

    for done, lines, found in damaged_copies(tmp_path, flip):
        assert found is not None
        assert found.step == 1
        assert len(lines) == 1
        assert done in lines[0]


def test_a_truncated_file_is_named_with_its_size_and_the_checkpoint_before_is_used(tmp_path: Path) -> None:
    chosen = random.Random(8)

    def truncate(path: Path) -> str:
        size = path.stat().st_size
        left = chosen.randrange(size)
        os.truncate(path, left)
        what = f"unreadable, its {left}" if path.name == "manifest.json" else f"truncated to {left} of {size} bytes"
        return f"step-00000002: {path.name}: {what}"

    for done, lines, found in damaged_copies(tmp_path, truncate):
        assert found is not None
        assert found.step == 1
        assert len(lines) == 1
        assert done in lines[0]


def test_a_run_does_not_silently_start_anew_where_no_checkpoint_is_valid(tmp_path: Path) -> None:
    for step in (1, 2):
        os.truncate(save(tmp_path, step) / "weights.safetensors", 9)
    lines: list[str] = []
    with pytest.raises(ValueError, match=r"step-00000002, .*step-00000001: restore .* another --output"):
        newest_checkpoint(tmp_path, lines.append)
    assert len(lines) == 2


def test_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3, 11):
        save(tmp_path, step, keep=2)
    assert names(tmp_path) == ["step-00000003", "step-00000011"]
    with pytest.raises(ValueError, match="0 checkpoints cannot be kept"):
        save(tmp_path, 12, keep=0)


def test_a_rotten_checkpoint_does_not_count_among_those_that_are_kept(tmp_path: Path) -> None:
    folders = {step: save(tmp_path, step) for step in (1, 2, 3)}
    os.truncate(folders[3] / "weights.safetensors", 9)
    save(tmp_path, 4, keep=2)
    assert names(tmp_path) == ["step-00000002", "step-00000003", "step-00000004"]


def test_the_checkpoint_just_written_stays_though_later_steps_are_there(tmp_path: Path) -> None:
    for step in (5, 6, 7):
        save(tmp_path, step)
    save(tmp_path, 4, keep=1)
    assert names(tmp_path) == ["step-00000004", "step-00000007"]


def test_what_a_dead_writer_left_is_removed_and_what_it_renamed_away_gets_its_name_back(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / ".step-00000003.01234567.tmp").mkdir()
    (tmp_path / ".step-00000003.01234567.tmp" / "weights.safetensors").write_bytes(b"half")
    shutil.copytree(tmp_path / "step-00000001", tmp_path / ".step-00000001.01234567.replaced")
    (tmp_path / "step-00000002").rename(tmp_path / ".step-00000002.01234567.replaced")
    assert newest(tmp_path).step == 2

    save(tmp_path, 3)

    assert names(tmp_path) == ["step-00000001", "step-00000002", "step-00000003"]


def test_an_equal_checkpoint_of_the_same_step_is_left_alone(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    before = folder.stat().st_ino
    assert save(tmp_path, 1) == folder
    assert folder.stat().st_ino == before
    assert names(tmp_path) == ["step-00000001"]


@pytest.mark.parametrize("rotten", [False, True])
def test_another_checkpoint_of_the_same_step_takes_its_place(tmp_path: Path, rotten: bool) -> None:
    folder = save(tmp_path, 1, content=10)
    if rotten:
        os.truncate(folder / "weights.safetensors", 9)
    save(tmp_path, 1, content=11)
    assert newest(tmp_path).values["content"] == 11
    assert names(tmp_path) == ["step-00000001"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_disk_that_fills_up_costs_none_of_the_earlier_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    save(tmp_path, 1, keep=1)

    def fill_up(named: dict[str, Tensor], path: Path, **options: object) -> None:
        path.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(checkpoints, "save_file", fill_up)
    with pytest.raises(OSError, match=r"step-00000002: it takes 0\.000 GB, and \d+\.\d+ GB were free") as raised:
        save(tmp_path, 2, keep=1)
    assert raised.value.errno == errno.ENOSPC
    assert names(tmp_path) == ["step-00000001"]
    assert newest(tmp_path).step == 1


def test_what_cannot_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2000))
    monkeypatch.setattr(checkpoints, "save_file", None)
    with pytest.raises(OSError, match="no room for the checkpoint"):
        save(tmp_path, 2)
    assert names(tmp_path) == ["step-00000001"]


def test_other_errors_pass_and_leave_no_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(named: dict[str, Tensor], path: Path, **options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(OSError, match="Input/output error"):
        save(tmp_path, 1)
    assert names(tmp_path) == []


def test_room_for_two_checkpoints_is_asked_for_before_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=14_000_000_000))
    check_room(tmp_path / "not" / "there" / "yet", 7_000_000_000)
    with pytest.raises(ValueError, match=r"room for 14\.000 GB, and two checkpoints take 14\.200 GB"):
        check_room(tmp_path, 7_100_000_000)


def test_other_accounts_may_read_what_they_may_read_elsewhere(tmp_path: Path) -> None:
    modes = {path.stat().st_mode for path in save(tmp_path, 1).iterdir()}
    assert len(modes) == 1
