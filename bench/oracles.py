"""How well the oracle reads true videos: `python bench/oracles.py --num-clips 500`.

Scores held-out scenes (a world that training never saw) as drawn at 64 px, after mp4 at 64 px, and after mp4 at
512 px for a fifth of them; then the hard options one by one. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch

from magdiff_curation.clips.video import decode, encode
from magdiff_curation.toyworld.oracles import Oracle
from magdiff_curation.toyworld.scene import Difficulty, render, sample_scene

HARD = {
    "2 distractors": Difficulty(num_distractors=2),
    "camera drift .3": Difficulty(camera_drift=0.3),
    "contrast .6": Difficulty(contrast=0.6),
    "noise .05": Difficulty(noise=0.05),
}


def score(seed: int, index: int, size_px: int, through_mp4: bool, difficulty: Difficulty) -> list[float]:
    torch.set_num_threads(1)
    scene = sample_scene(seed, index, difficulty)
    frames, _ = render(scene, height=size_px, width=size_px, num_frames=16)
    if through_mp4:
        frames = decode(encode(frames, 8))
    reading = oracle().read(frames)
    looks = scene.subject.appearance
    error = np.abs(reading.looks - looks.vector())
    return [
        reading.class_name == scene.subject.class_name,
        reading.background == scene.background,
        reading.action == scene.action,
        reading.pattern == looks.pattern,
        error[:9].mean(),
        error[9],
        error[10],
    ]


def oracle() -> Oracle:
    global _oracle
    if _oracle is None:
        _oracle = Oracle()
    return _oracle


_oracle: Oracle | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-clips", type=int, default=500)
    parser.add_argument("--seed", type=int, default=20_000_003)
    options = parser.parse_args()
    rows = [("as drawn, 64 px", 64, False, Difficulty(), 1), ("mp4, 64 px", 64, True, Difficulty(), 1)]
    rows += [("mp4, 512 px", 512, True, Difficulty(), 5)]
    rows += [(f"mp4, 64 px, {name}", 64, True, difficulty, 1) for name, difficulty in HARD.items()]
    print(
        f"seed {options.seed}, {options.num_clips} clips (512 px: a fifth); errors are mean absolute, colours 0 to 1\n"
    )
    print("| videos | class | background | action | pattern | colour error | aspect error | part error |")
    print("|---|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor() as pool:
        for name, size_px, through_mp4, difficulty, divisor in rows:
            count = options.num_clips // divisor
            arguments = (
                [options.seed] * count,
                range(count),
                [size_px] * count,
                [through_mp4] * count,
                [difficulty] * count,
            )
            means = np.mean(list(pool.map(score, *arguments, chunksize=4)), axis=0)
            shares = " | ".join(f"{100 * share:.1f}%" for share in means[:4])
            print(f"| {name} | {shares} | " + " | ".join(f"{error:.3f}" for error in means[4:]) + " |", flush=True)


if __name__ == "__main__":
    main()
