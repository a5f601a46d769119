"""Scores a folder in children that are killed at random, until one may end: `killed_scoring.py VIDEOS FOLDER KILLS`.

Prints JSON: what each child found done at its start and what it was shown, by the log's lines, and the final distance.
A process of its own, since it forks.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from eval.scoring.tiny import TinyClips

from magdiff_eval.metrics.frechet import frechet_distance_from_features
from magdiff_eval.scoring.engine import EngineSettings, open_store
from magdiff_eval.scoring.folder import score_folder


def main() -> None:
    videos, folder, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    chosen, runs, log = random.Random(5), [], folder / "log"
    folder.mkdir()
    for number in range(kills + 1):
        known = sorted(open_store(folder / "features", [TinyClips()]).features[TinyClips().key])
        before = lines(log)
        child = os.fork()
        if child == 0:
            run(videos, folder, log)
        if number < kills:
            wait_until_past(log, len(before), child)
            time.sleep(chosen.uniform(0, 0.5))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        runs.append({"known": known, "shown": lines(log)[len(before) :], "status": status})
    scored = score_folder(videos, [TinyClips()], folder / "features", report=lambda line: None)
    rows = scored.features("tiny")
    distance = frechet_distance_from_features(rows[::2], rows[1::2]).hex()
    print(json.dumps({"runs": runs, "rows": [video.row() for video in scored.videos], "distance": distance}))


def run(videos: Path, folder: Path, log: Path) -> None:
    try:
        settings = EngineSettings(group=3)
        score_folder(videos, [TinyClips(log=log)], folder / "features", settings=settings, report=lambda line: None)
        os._exit(0)
    finally:
        os._exit(1)


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.is_file() else []


def wait_until_past(log: Path, count: int, child: int) -> None:
    while len(lines(log)) <= count and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.01)


if __name__ == "__main__":
    main()
