"""A writer that is killed with SIGKILL at any moment leaves a valid newest checkpoint."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from model.training.saved import names, newest, save, tensors

from magdiff_model.training.checkpoints import Checkpoint, save_checkpoint

CALLS = {"open", "os.mkdir", "os.chmod", "os.rename", "os.remove", "os.rmdir"}


def test_a_killed_writer_always_leaves_a_valid_newest_checkpoint(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
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
