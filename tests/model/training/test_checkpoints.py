import errno
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from magdiff_model.training import checkpoints
from magdiff_model.training.checkpoints import Checkpoint, check_room, newest_checkpoint, save_checkpoint

Tensors = dict[str, dict[str, Tensor]]
CALLS = {"open", "os.mkdir", "os.chmod", "os.rename", "os.remove", "os.rmdir"}


def tensors(number: int, width: int = 16) -> Tensors:
    generator = torch.Generator().manual_seed(number)
    return {
        "weights": {name: torch.randn(width, width, generator=generator) for name in ("conv.weight", "conv.bias")},
        "optimizer": {"conv.step": torch.tensor(number, dtype=torch.int64)},
    }


def save(root: Path, step: int, content: int | None = None, keep: int = 3) -> Path:
    number = step if content is None else content
    return save_checkpoint(root, step, tensors(number), {"losses": [0.5] * step, "content": number}, keep)


def newest(root: Path) -> Checkpoint:
    """Return the newest checkpoint, of which nothing may have been passed over."""
    lines: list[str] = []
    found = newest_checkpoint(root, lines.append)
    assert found is not None
    assert lines == []
    return found


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


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


def test_floats_and_losses_of_skipped_steps_come_back_exactly(tmp_path: Path) -> None:
    values = {
        "losses": [0.1 + 0.2, math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e300],
        "schedule": {"last_lr": [1e-4 / 3], "betas": (0.9, 0.999)},
        "position": {"epoch": 2**53 + 1, "clip": None, "done": False, "name": "nan"},
    }
    save_checkpoint(tmp_path, 1, tensors(1), values, keep=1)

    found = newest(tmp_path).values
    assert [repr(loss) for loss in found["losses"]] == [repr(loss) for loss in values["losses"]]
    assert found["schedule"] == {"last_lr": [1e-4 / 3], "betas": [0.9, 0.999]}
    assert found["position"] == values["position"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"schedule": {"last_lr": [0.1, math.nan]}}, r"schedule\.last_lr\[1\] is nan"),
        ({"scaler": math.inf}, "scaler is inf"),
        ({"order": {3: "clip"}}, "order has the key 3"),
        ({"step": torch.tensor(3)}, "step is a Tensor"),
        ({"losses": [0.5, "nan"]}, "losses holds a string"),
    ],
)
def test_a_value_that_json_would_change_is_refused_by_name(
    tmp_path: Path, values: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        save_checkpoint(tmp_path / "checkpoints", 1, tensors(1), values, keep=1)
    assert not (tmp_path / "checkpoints").exists()


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


def test_a_killed_writer_always_leaves_a_valid_newest_checkpoint(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(tmp_path / "checkpoints")]  # a process of its own, since it forks
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    calls, outcomes = json.loads(done.stdout)
    assert set(calls) == CALLS
    assert calls.count("os.rename") == 5  # in; of the one before, out of sight; away, in, out of sight
    assert outcomes.count("temporary left") >= 3


def kill_at_every_call(root: Path) -> list[str]:
    """Kill a writer before each call to the file system that its saves make; return the calls."""
    reading, writing = os.pipe()
    calls: list[str] = []
    while True:
        shutil.rmtree(root, ignore_errors=True)
        save(root, 1, keep=1)
        child = forked(lambda: save_until_call(root, len(calls), writing))
        call = os.read(reading, 100).decode()
        _, status = os.waitpid(child, 0)
        found = newest(root)
        assert (found.step, found.values["content"]) in [(1, 1), (2, 20), (2, 21)]
        check_content(found)
        if call == "none":
            assert status == 0
            assert found.values["content"] == 21
            return calls
        assert os.WTERMSIG(status) == signal.SIGKILL
        calls.append(call)


def save_until_call(root: Path, number: int, writing: int) -> None:
    left = number

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in CALLS:
            if left == 0:
                os.write(writing, event.encode())
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(count)
    save(root, 2, content=20, keep=1)
    save(root, 2, content=21, keep=1)
    os.write(writing, b"none")


def kill_at_any_moment(root: Path) -> list[str]:
    """Kill a writer that saves in a loop, 25 times at random; return what was found then."""
    chosen = random.Random(9)
    shutil.rmtree(root)
    save(root, 1, keep=2)
    outcomes = []
    for _ in range(25):
        child = forked(lambda: save_for_ever(root))
        time.sleep(chosen.uniform(0.01, 0.15))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        outcomes.append("temporary left" if any(name.startswith(".") for name in names(root)) else "nothing left")
        check_content(newest(root))
    return outcomes


def save_for_ever(root: Path) -> None:
    step = newest(root).step
    while True:
        step += 1
        for content in (2 * step, 2 * step + 1):  # the second takes the place of the first
            values = {"losses": [0.5] * step, "content": content}
            save_checkpoint(root, step, tensors(content, width=256), values, keep=2)


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    return child


def check_content(found: Checkpoint) -> None:
    weight = found.tensors["weights"]["conv.weight"]
    written = tensors(found.values["content"], width=len(weight))
    assert torch.equal(weight, written["weights"]["conv.weight"])
    assert found.tensors["optimizer"]["conv.step"].item() == found.values["content"]
    assert len(found.values["losses"]) == found.step


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(json.dumps([kill_at_every_call(folder), kill_at_any_moment(folder)]))
