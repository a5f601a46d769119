"""pipelines/curate.py, killed with SIGKILL at its n-th atomic write: `killed_curate.py N [ARGUMENT ...]`.

Counted are the driver's writes into the output folder itself, which are packing's (shards, indexes, their list), the
ledger and the pictures of it; the n-th file is cut off after its first half.
"""

import os
import runpy
import signal
import stat
import sys
from pathlib import Path

from magdiff_curation.clips import atomic


def main() -> None:
    remaining = int(sys.argv[1])
    fsync = os.fsync

    def dying_fsync(descriptor: int) -> None:
        nonlocal remaining
        is_product = "/work/" not in str(Path(f"/proc/self/fd/{descriptor}").readlink())
        counts = is_product and stat.S_ISREG(os.fstat(descriptor).st_mode)
        remaining -= counts
        if counts and remaining == 0:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    atomic.os.fsync = dying_fsync  # type: ignore[attr-defined]
    script = Path(__file__).parents[2] / "pipelines" / "curate.py"
    sys.argv = [str(script), *sys.argv[2:]]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
