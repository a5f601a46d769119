"""Damaged and hostile files go through what the normalize stage does: each gets its right reason, and harms nothing."""

from __future__ import annotations

import ctypes
import itertools
import math
import multiprocessing
import os
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hostile import KINDS, NUM_FRAMES, write_good, write_hostile

from magdiff_curation.clips.video import decode, encode
from magdiff_curation.config import ClipSettings, LimitSettings
from magdiff_curation.normalize import (
    canonical_rate,
    canonical_size,
    check_decoded_size,
    decode_source,
    probe_source,
)
from magdiff_curation.reasons import ClipRejected

LIMITS = LimitSettings()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    name: str
    reason: str
    num_frames: int
    seconds: float
    children_mib: float


def outcome(path: Path) -> Outcome:
    """Return what the normalize stage makes of a file, and the largest child that this process has had so far."""
    begin, num_frames, reason = time.monotonic(), 0, "kept"
    clip = ClipSettings()
    try:
        info = probe_source(path, LIMITS)
        rate = canonical_rate(info, clip)
        if info.duration_seconds > LIMITS.max_seconds:
            reason = "too_long"
        else:
            check_decoded_size(math.ceil(info.duration_seconds * rate), *canonical_size(info, clip), LIMITS)
            num_frames = len(decode(encode(decode_source(path, info, clip, LIMITS), rate, clip.codec)))
    except ClipRejected as rejection:
        reason = str(rejection.reason)
        assert rejection.detail
    except ValueError:
        reason = "source_unreadable"
    return Outcome(
        name=path.name,
        reason=reason,
        num_frames=num_frames,
        seconds=time.monotonic() - begin,
        children_mib=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    )


@contextmanager
def listener() -> Iterator[tuple[int, list[object]]]:
    """Yield a port of this machine, and a list that grows with every connection to it."""
    calls: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                connection.close()
                calls.append(address)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield server.getsockname()[1], calls
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def opened_files(folder: Path) -> Iterator[list[str]]:
    """Yield a list that holds, after the block, the names of the files in a folder that anybody opened (inotify)."""
    libc, opened = ctypes.CDLL(None, use_errno=True), []
    watcher = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watcher, os.fsencode(folder), 0x20) >= 0, "IN_OPEN"
    try:
        yield opened
        events = os.read(watcher, 2**16) if _readable(watcher) else b""
        while events:
            length = struct.unpack_from("iIII", events)[3]
            opened.append(events[16 : 16 + length].rstrip(b"\0").decode())
            events = events[16 + length :]
    finally:
        os.close(watcher)


def _readable(descriptor: int) -> bool:
    import select

    return bool(select.select([descriptor], [], [], 0)[0])


def test_the_watch_sees_a_file_that_is_opened(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with opened_files(tmp_path) as opened:
        (tmp_path / "x").read_bytes()
    assert opened == ["x"]


@pytest.fixture(scope="module")
def one_of_each(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, set[str]], list[Outcome]]:
    folder = tmp_path_factory.mktemp("hostile")
    with listener() as (port, calls):
        right = write_hostile(folder, len(KINDS), seed=0, port=port)
        with opened_files(folder / "targets") as opened:
            outcomes = [outcome(folder / name) for name in right]
    assert (calls, opened) == ([], [])
    return right, outcomes


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_hostile_file_gets_its_right_reason(
    kind: str, one_of_each: tuple[dict[str, set[str]], list[Outcome]]
) -> None:
    right, outcomes = one_of_each
    (found,) = (outcome for outcome in outcomes if outcome.name.startswith(f"{kind}-"))
    assert found.reason in right[found.name]
    assert found.seconds < 20


def test_hostile_files_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    names = [list(write_hostile(tmp_path / folder, len(KINDS), seed=5)) for folder in ("a", "b")]
    assert names[0] == names[1]
    for name in names[0]:
        assert not (path := tmp_path / "a" / name).is_file() or (
            path.read_bytes().replace(b"/a/", b"/b/") == (tmp_path / "b" / name).read_bytes()
        )


@pytest.mark.slow
def test_of_200_hostile_and_50_good_files_the_50_are_kept_within_all_limits(tmp_path: Path) -> None:
    # Fresh processes: the kernel counts a parent's memory for its child until it runs its program.
    context = multiprocessing.get_context("spawn")
    with listener() as (port, calls), ProcessPoolExecutor(2, mp_context=context) as pool:
        writers = ProcessPoolExecutor(1, mp_context=context)
        right = writers.submit(write_hostile, tmp_path, 200, 1, port).result()
        good = writers.submit(write_good, tmp_path, 50, 1).result()
        writers.shutdown()
        with opened_files(tmp_path / "targets") as opened:
            paths = [tmp_path / name for name in itertools.chain(right, good)]
            outcomes = {found.name: found for found in pool.map(outcome, paths)}
    print(
        f"{len(KINDS)} kinds; largest child {max(found.children_mib for found in outcomes.values()):.0f} MiB; "
        f"longest {max(found.seconds for found in outcomes.values()):.2f} s"
    )
    assert len(outcomes) == 250
    wrong = [(name, outcomes[name].reason) for name, reasons in right.items() if outcomes[name].reason not in reasons]
    assert wrong == []
    assert {outcomes[name].reason for name in good} == {"kept"}
    assert all(NUM_FRAMES <= outcomes[name].num_frames <= NUM_FRAMES + 2 for name in good)
    assert max(found.children_mib for found in outcomes.values()) <= LIMITS.max_memory_mib
    assert max(found.seconds for found in outcomes.values()) <= LIMITS.max_wall_seconds
    assert (calls, opened) == ([], [])
