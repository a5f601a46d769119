"""A child process with limits, seen from its parent: it never outlives the block, and says why it ended.

Its working folder is `/`, its environment empty, its stdin closed. What it writes to stderr is drained all the time
and only the end is kept, so that a hostile file can fill neither the pipe nor the memory.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from signal import SIGKILL, SIGXCPU
from typing import IO

from magdiff_curation import limited_exec
from magdiff_curation.config import LimitSettings
from magdiff_curation.reasons import ClipRejected, Reason

_KEPT_BYTES = 2**20
_OUT_OF_MEMORY = ("Cannot allocate memory", "MemoryError", "failed to map segment", "cannot create thread")
_PICTURE_SIZE = re.compile(r"Picture size (\d+)x(\d+) (?:is invalid|exceeds)")


class LimitedChild:
    """A running child: its output, and how it ended."""

    def __init__(self, process: subprocess.Popen[bytes], limits: LimitSettings) -> None:
        assert process.stdout is not None, "the child's output is a pipe"
        self.stdout: IO[bytes] = process.stdout
        self._process, self._limits = process, limits
        self._kept, self._expired = bytearray(), False
        self._timer = threading.Timer(limits.max_wall_seconds, self._expire)
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._timer.start()
        self._reader.start()

    def end(self) -> tuple[int, str]:
        """Return the exit status and the end of stderr.

        Raises:
            ClipRejected: a limit ended the child.
        """
        code = self._process.wait()
        self._reader.join()
        log = self._kept.decode(errors="replace")
        limit = self._limit(code, log)
        if limit is not None:
            raise ClipRejected(Reason.LIMIT_EXCEEDED, limit)
        return code, log

    def stop(self) -> None:
        """Kill the child if it still runs, and leave nothing behind."""
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self.stdout.close()

    def _limit(self, code: int, log: str) -> str | None:
        limits = self._limits
        if self._expired:
            return f"opening it took more than {limits.max_wall_seconds:g} s (limits.max_wall_seconds)"
        if code == 0:
            return None
        if code == -SIGXCPU:
            return f"opening it took more than {limits.max_wall_seconds:g} s of CPU time (limits.max_wall_seconds)"
        if code == -SIGKILL or any(words in log for words in _OUT_OF_MEMORY):
            return f"opening it takes more than {limits.max_memory_mib} MiB (limits.max_memory_mib)"
        for width, height in _PICTURE_SIZE.findall(log):
            if int(width) * int(height) > limits.max_pixels:
                return f"a frame of {width}x{height} px is more than {limits.max_pixels} pixels (limits.max_pixels)"
        return None

    def _expire(self) -> None:
        self._expired = True
        self._process.kill()

    def _drain(self) -> None:
        assert self._process.stderr is not None, "the child's errors are a pipe"
        while chunk := self._process.stderr.read1(_KEPT_BYTES):  # type: ignore[attr-defined]
            self._kept += chunk
            del self._kept[:-_KEPT_BYTES]
        self._process.stderr.close()


@contextmanager
def limited_child(command: Sequence[str], limits: LimitSettings) -> Iterator[LimitedChild]:
    """Run a command, its paths absolute, under the limits for as long as the block lasts."""
    wrapper = [
        sys.executable, "-I", "-S", limited_exec.__file__,
        str(limits.max_memory_mib * 2**20), str(int(limits.max_wall_seconds) + 1),
    ]  # fmt: skip
    process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
        [*wrapper, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={},
    )
    child = LimitedChild(process, limits)
    try:
        yield child
    finally:
        child.stop()
