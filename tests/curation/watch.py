"""What happens on this machine while a block runs: connections, opened files, and what child processes take."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


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
        events = os.read(watcher, 2**16) if select.select([watcher], [], [], 0)[0] else b""
        while events:
            length = struct.unpack_from("iIII", events)[3]
            opened.append(events[16 : 16 + length].rstrip(b"\0").decode())
            events = events[16 + length :]
    finally:
        os.close(watcher)


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process that opened a source: its largest resident memory, and the address space that it is allowed."""

    peak_mib: float
    limit_mib: float


@contextmanager
def watched_children(folder: Path) -> Iterator[dict[int, Child]]:
    """Yield the limited children, by process id, whose command names a file in a folder, as far as /proc shows them.

    They are looked at every 10 ms, and the kernel keeps each one's peak; what a child takes in its last moments is not
    seen, but held by its limit.
    """
    children: dict[int, Child] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            for process in Path("/proc").iterdir():
                with contextlib.suppress(OSError, IndexError):  # it has just ended
                    command = (process / "cmdline").read_bytes() if process.name.isdigit() else b""
                    # Until it has become its command, a child is the wrapper that sets the limits.
                    if os.fsencode(folder) in command and b"limited_exec.py" not in command:
                        children[int(process.name)] = _child(process, children.get(int(process.name)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield children
    finally:
        done.set()
        thread.join()


def _child(process: Path, before: Child | None) -> Child:
    status, limits = (process / "status").read_text(), (process / "limits").read_text()
    peak = float(status.partition("VmHWM:")[2].split()[0]) / 1024 if "VmHWM:" in status else 0.0  # none: a zombie
    limit = limits.partition("Max address space")[2].split()[0]
    return Child(
        peak_mib=max(peak, before.peak_mib if before else 0.0),
        limit_mib=float("inf") if limit == "unlimited" else int(limit) / 2**20,
    )
