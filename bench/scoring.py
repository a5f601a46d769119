"""What scoring a folder costs: N tiny videos scored once, and again with nothing left to do.

    python bench/scoring.py --videos 10000 [--folder data/bench/scoring] [--workers 2]

Videos have 16 frames of 64x48 px, written once and kept; the network is a small random one, so that what is timed is
reading, keeping and finding again. Either run is a process of its own, timed from its start to its end, and leaves the
Fréchet distance between the set's halves: the two must be equal to the bit. Its peak memory is the process's own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def write_videos(folder: Path, count: int) -> None:
    from eval.scoring.tiny import moving, write_mp4

    for number in range(count):
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.mp4"
        if not path.is_file():
            write_mp4(path.with_suffix(".part"), moving(number))
            path.with_suffix(".part").replace(path)


def score(folder: Path, workers: int) -> None:
    """Score the folder's videos, and print what that took."""
    import torch
    from eval.scoring.tiny import TinyClips

    import magdiff_curation.normalize  # noqa: F401 - so that it counts as there at the start
    from magdiff_eval.metrics.frechet import frechet_distance_from_features
    from magdiff_eval.scoring.engine import EngineSettings
    from magdiff_eval.scoring.folder import score_folder

    torch.set_num_threads(1)
    at_start = peak_mib()
    settings = EngineSettings(workers=workers, report_seconds=60)
    begin = time.monotonic()
    scored = score_folder(
        folder / "videos",
        [TinyClips()],
        folder / "features",
        settings=settings,
        report=lambda line: print(line, file=sys.stderr),
    )
    rows = scored.features("tiny")
    found = {
        "seconds": time.monotonic() - begin,
        "peak_mib": peak_mib(),
        "imports_mib": at_start,
        "videos": len(rows),
        "faults": scored.faults(),
        "distance": frechet_distance_from_features(rows[::2], rows[1::2]).hex(),
    }
    print(json.dumps(found))


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(folder: Path, workers: int) -> dict[str, float]:
    begin = time.monotonic()
    command = [sys.executable, __file__, "--folder", str(folder), "--workers", str(workers), "--only-score"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout) | {"process_seconds": time.monotonic() - begin}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--videos", type=int, default=10_000)
    options.add_argument("--folder", type=Path, default=Path("data/bench/scoring"))
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--only-score", action="store_true", help="score once, in this process")
    options.add_argument("--json", action="store_true", help="print both runs' figures as JSON")
    chosen = options.parse_args()
    if chosen.only_score:
        score(chosen.folder, chosen.workers)
        return
    write_videos(chosen.folder / "videos", chosen.videos)
    shutil.rmtree(chosen.folder / "features", ignore_errors=True)
    first, second = (in_a_process(chosen.folder, chosen.workers) for _ in range(2))
    assert first["distance"] == second["distance"], "the second run gives another number"
    size = sum(path.stat().st_size for path in (chosen.folder / "features").rglob("*") if path.is_file())
    if chosen.json:
        print(json.dumps({"first": first, "second": second, "kept_bytes": size}))
        return
    for name, run in (("first", first), ("second", second)):
        print(
            f"{name} run: {run['videos']} videos in {run['seconds']:.2f} s, {run['videos'] / run['seconds']:.1f} a "
            f"second; the whole process {run['process_seconds']:.2f} s; peak memory {run['peak_mib']:.0f} MiB, "
            f"{run['imports_mib']:.0f} MiB of it at the start"
        )
    print(
        f"the second is {first['seconds'] / second['seconds']:.0f} times as fast, as a process "
        f"{first['process_seconds'] / second['process_seconds']:.0f} times; the same distance to the bit; "
        f"{size / chosen.videos / 1000:.2f} kB kept a video"
    )


if __name__ == "__main__":
    main()
