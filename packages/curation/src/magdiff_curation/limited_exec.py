"""Run a command under limits: `python limited_exec.py MEMORY_BYTES CPU_SECONDS COMMAND [ARGUMENT ...]`.

A process of its own sets the limits and then becomes the command: setting them after a fork inside a threaded
parent can deadlock, and setting them on the parent would limit the parent. The command may write no file (pipes
are none) and open few. There is no limit on processes: the kernel counts all of the user's threads together, so
any small number would fail on a busy machine.
"""

import os
import resource
import sys

MAX_OPEN_FILES = 24


def main() -> None:
    memory_bytes, cpu_seconds = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # One second between the limits: first SIGXCPU, which says why, then SIGKILL.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606 - replacing this process is its purpose


if __name__ == "__main__":
    main()
