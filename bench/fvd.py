"""What FVD's features cost beside a bare I3D: batches in memory, our scoring from mp4 files, and peers' code, in turns.

    python bench/fvd.py [--videos 32] [--height 128] [--width 128] [--turns 5]
                        [--peer-videogpt CHECKOUT] [--peer-common-metrics CHECKOUT]

Bare is the network on batches of 8 that are ready in memory, with torch's own number of threads. Ours reads and decodes
the files, resizes, and keeps features in a new store. Peers (wilson1yan/VideoGPT, and the `styleganv` method of
JunyaoHu/common_metrics_on_video_quality; their packages must be installed) get decoded videos, and resize, batch and
compute with their own code: decoding does not count against them. Weights are random, and the same for all. Turns go
forth and back, the first warms up; medians are printed, and the share of bare's speed that each has.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from magdiff_eval.metrics.fvd import MAGDIFF, prepare_clips
from magdiff_eval.models.i3d import InceptionI3d
from magdiff_eval.scoring.engine import EngineSettings
from magdiff_eval.scoring.folder import score_folder
from magdiff_eval.scoring.networks import fvd_extractor

sys.path[0] = str(
    Path(__file__).parents[1] / "tests"
)  # in place of bench/, where a peer's package `fvd` would be this file

BATCH = 8
Videos = NDArray[np.uint8]
Run = Callable[[], object]


def write_videos(folder: Path, videos: Videos) -> None:
    from eval.scoring.tiny import write_mp4

    for number, frames in enumerate(videos):
        write_mp4(folder / f"{number:05d}.mp4", frames)


def drawn(count: int, height: int, width: int) -> Videos:
    from eval.scoring.tiny import moving

    return np.stack([moving(seed, height=height, width=width) for seed in range(count)])


def bare(network: InceptionI3d, videos: Videos) -> Run:
    batches = [prepare_clips(videos[start : start + BATCH], MAGDIFF) for start in range(0, len(videos), BATCH)]
    return lambda: [network(batch) for batch in batches]


def ours(network: InceptionI3d, folder: Path, workers: int) -> Run:
    def run() -> object:
        with tempfile.TemporaryDirectory() as store:
            settings = EngineSettings(workers=workers)
            scored = score_folder(folder, [extractor], Path(store), settings=settings, report=lambda _: None)
            rows = scored.features("fvd")
        assert not scored.faults(), scored.faults()
        return rows

    extractor = fvd_extractor(network, {"random": 0}, MAGDIFF, batch_size=BATCH)
    return run


def imported(checkout: Path, *names: str) -> list[ModuleType]:
    sys.path.insert(0, str(checkout))
    return [importlib.import_module(name) for name in names]


def videogpt(checkout: Path, network: InceptionI3d, videos: Videos) -> Run:
    theirs, networks = imported(checkout, "videogpt.fvd.fvd", "videogpt.fvd.pytorch_i3d")
    i3d = networks.InceptionI3d(400, in_channels=3).eval()
    i3d.load_state_dict(network.state_dict())
    return lambda: theirs.get_fvd_logits(videos, i3d=i3d, device="cpu")


def common_metrics(checkout: Path, network: InceptionI3d, videos: Videos) -> Run:
    """Its torchscript detector is stood in for by the network that it has beside it."""
    theirs, networks = imported(checkout, "fvd.styleganv.fvd", "fvd.videogpt.pytorch_i3d")
    i3d = networks.InceptionI3d(400, in_channels=3).eval()
    i3d.load_state_dict(network.state_dict())
    given = torch.from_numpy(videos).permute(0, 4, 1, 2, 3).float() / 255
    return lambda: theirs.get_fvd_feats(given, i3d=lambda x, **_: i3d(x), device="cpu")


@torch.inference_mode()
def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--videos", type=int, default=32, help="a multiple of 16, which VideoGPT asks for")
    options.add_argument("--height", type=int, default=128)
    options.add_argument("--width", type=int, default=128)
    options.add_argument("--turns", type=int, default=5)
    options.add_argument(
        "--workers", type=int, default=EngineSettings().workers, help="videos that we decode at a time"
    )
    options.add_argument("--peer-videogpt", type=Path)
    options.add_argument("--peer-common-metrics", type=Path)
    chosen = options.parse_args()
    if chosen.videos < 16 or chosen.videos % 16:
        raise SystemExit(f"--videos is {chosen.videos}: give a multiple of 16")
    torch.manual_seed(0)
    network, videos = InceptionI3d(), drawn(chosen.videos, chosen.height, chosen.width)
    with tempfile.TemporaryDirectory() as folder:
        write_videos(Path(folder), videos)
        runs = {"bare": bare(network, videos), "ours, from files": ours(network, Path(folder), chosen.workers)}
        if chosen.peer_videogpt:
            runs["VideoGPT, decoded"] = videogpt(chosen.peer_videogpt, network, videos)
        if chosen.peer_common_metrics:
            runs["common_metrics, decoded"] = common_metrics(chosen.peer_common_metrics, network, videos)
        times: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(chosen.turns + 1):
            for name, run in list(runs.items())[:: 1 if turn % 2 else -1]:
                begin = time.perf_counter()
                run()
                if turn:
                    times[name].append((time.perf_counter() - begin) / len(videos))
    print(
        f"{len(videos)} videos of 16 frames, {chosen.width}x{chosen.height} px; {torch.get_num_threads()} threads on "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; median of {chosen.turns} turns"
    )
    # Each turn is compared with the bare one in it, since what else the machine does changes between turns.
    for name, seconds in times.items():
        ratios = [first / other for first, other in zip(times["bare"], seconds, strict=True)]
        print(
            f"{name:24} {statistics.median(seconds):7.3f} s a video, {statistics.median(ratios):.3f} of bare's speed "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
