"""Single toyworld pictures for the zoo's vision models: `drawn_pictures(16_000)`.

Square pictures of 192 px; some are squeezed from wider or taller ones, as image processors squeeze them. Half hold
small subjects of other classes in the corners, some are pale or noisy, and the moment in the clip is any, the first
frame most often. Drawn once and kept in `data/zoo`; 6 ms a picture on two cores.
"""

from __future__ import annotations

import functools
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Image, Mask
from magdiff_curation.toyworld.scene import Difficulty, Scene, render_at, sample_scene

SEED = 2_000_003
SIZE_PX = 192
CACHE = Path("data/zoo")


@dataclass(frozen=True)
class Pictures:
    """Images uint8 [N, 192, 192, 3], the subject's masks bool [N, 192, 192], and the N scenes they show."""

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    scenes: list[Scene]


def drawn_pictures(num_pictures: int, seed: int = SEED, squeezed: float = 0.35) -> Pictures:
    """Return the first pictures of a world, drawn in parallel, or read from `data/zoo` where they were drawn before.

    `squeezed` is the share of those that were wider or taller.
    """
    path = CACHE / f"pictures-{seed}-{num_pictures}-{squeezed:g}.npz"
    if not path.is_file():
        begin = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor() as pool:
            drawn = list(pool.map(_draw, [(seed, squeezed)] * num_pictures, range(num_pictures), chunksize=64))
        np.savez(path, images=np.stack([pair[0] for pair in drawn]), masks=np.stack([pair[1] for pair in drawn]))
        print(f"drew {num_pictures} pictures in {time.monotonic() - begin:.0f} s", flush=True)
    with np.load(path) as stored:
        images, masks = stored["images"], stored["masks"]
    return Pictures(images, masks, [_scene(seed, index) for index in range(num_pictures)])


def smaller(images: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Return the pictures uint8 [N, S, S, 3] at a smaller size, by area."""
    return np.stack([cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA) for image in images])


def _scene(seed: int, index: int) -> Scene:
    rng = np.random.default_rng([seed, index, 2])
    harder = rng.uniform(size=4) < (0.5, 0.25, 0.25, 0.3)
    difficulty = Difficulty(
        num_distractors=int(rng.integers(1, 4)) if harder[0] else 0,
        contrast=float(rng.uniform(0.5, 1)) if harder[1] else 1.0,
        noise=float(rng.uniform(0, 0.06)) if harder[2] else 0.0,
        camera_drift=0.3 if harder[3] else 0.0,
    )
    return sample_scene(seed, index, difficulty)


def _draw(world: tuple[int, float], index: int) -> tuple[Image, Mask]:
    seed, squeezed = world
    rng = np.random.default_rng([seed, index, 3])
    longer = int(SIZE_PX * rng.uniform(1, 1.8)) if rng.uniform() < squeezed else SIZE_PX
    height, width = (SIZE_PX, longer) if rng.uniform() < 0.7 else (longer, SIZE_PX)
    moment = 0.0 if rng.uniform() < 0.4 else float(rng.uniform())
    (image,), (mask,) = render_at(_scene(seed, index), [moment], height=height, width=width)
    square = (SIZE_PX, SIZE_PX)
    cover = cv2.resize(mask.astype(np.float32), square, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, square, interpolation=cv2.INTER_AREA), cover > 0.5


def nothing(images: NDArray[np.uint8], rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Return pictures uint8 [count, S, S, 3] without a subject: shuffled blocks, and crops of two photographs."""
    size = images.shape[1]
    photos = _photographs()
    made = np.empty((count, size, size, 3), np.uint8)
    for number in range(count):
        if rng.uniform() < 0.5:
            photo = photos[rng.integers(len(photos))]
            side = int(rng.integers(size, min(photo.shape[:2]) + 1))
            top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
            crop = photo[top : top + side, left : left + side]
            made[number] = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
        else:
            per_side = int(rng.choice([4, 6, 8]))
            block = size // per_side
            image = images[rng.integers(len(images))]
            blocks = image.reshape(per_side, block, per_side, block, 3).swapaxes(1, 2).reshape(-1, block, block, 3)
            blocks = blocks[rng.permutation(len(blocks))].reshape(per_side, per_side, block, block, 3)
            made[number] = blocks.swapaxes(1, 2).reshape(size, size, 3)
    return made


@functools.cache
def _photographs() -> list[NDArray[np.uint8]]:
    from sklearn.datasets import load_sample_images

    return list(load_sample_images().images)
