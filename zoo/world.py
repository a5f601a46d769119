"""Toyworld clips drawn once and kept, for the three trainings of the zoo: `drawn_world(16_000)`.

Frames of 64x64 px, eight a clip, of a world whose seed is used for nothing else. About 10 ms a clip on two cores.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_curation.toyworld.scene import Scene, render, sample_scene

SEED = 2_000_003
NUM_FRAMES, SIZE_PX = 8, 64
CACHE = Path("data/zoo")


@dataclass(frozen=True)
class World:
    """Frames uint8 [N, 8, 64, 64, 3], masks bool [N, 8, 64, 64], and the N scenes they show."""

    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    scenes: list[Scene]


def drawn_world(num_clips: int, seed: int = SEED) -> World:
    """Return the first clips of a world, drawn in parallel, or read from `data/zoo` where they were drawn before."""
    path = CACHE / f"world-{seed}-{num_clips}.npz"
    if not path.is_file():
        begin = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor() as pool:
            clips = list(pool.map(_draw, [seed] * num_clips, range(num_clips), chunksize=64))
        np.savez(path, frames=np.stack([clip[0] for clip in clips]), masks=np.stack([clip[1] for clip in clips]))
        print(f"drew {num_clips} clips in {time.monotonic() - begin:.0f} s", flush=True)
    with np.load(path) as stored:
        frames, masks = stored["frames"], stored["masks"]
    return World(frames, masks, [sample_scene(seed, index) for index in range(num_clips)])


def _draw(seed: int, index: int) -> tuple[Frames, Masks]:
    return render(sample_scene(seed, index), height=SIZE_PX, width=SIZE_PX, num_frames=NUM_FRAMES)
