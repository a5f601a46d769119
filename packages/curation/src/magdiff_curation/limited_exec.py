"""Run a command under limits: `python limited_exec.py MEMORY_BYTES CPU_SECONDS COMMAND [ARGUMENT ...]`.

A process of its own sets the limits and then becomes the command: setting them after a fork inside a threaded
parent can deadlock, and setting them on the parent would limit the parent.
"""

import os
import resource
import sys


def main() -> None:
    memory_bytes, cpu_seconds = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606 - replacing this process is its purpose


if __name__ == "__main__":
    main()
