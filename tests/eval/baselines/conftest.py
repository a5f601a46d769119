"""The five toy checkpoints, written once, and a loader that loads each once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from eval.baselines.tiny import FAST, write_all

from magdiff_curation.clips.masks import Frames
from magdiff_eval.baselines import Maker, Request, load_baseline


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def maker(weights: Path) -> Callable[[str], Maker]:
    return functools.cache(lambda name: load_baseline(name, weights, device="cpu", precision="fp32", **FAST[name]))


def source(seed: int, num_frames: int, height: int = 32, width: int = 48) -> Frames:
    """Random blocks of 8 pixels, uint8 [F, H, W, 3]."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (num_frames, height // 8, width // 8, 3), dtype=np.uint8)
    return small.repeat(8, axis=1).repeat(8, axis=2)


def request_of(name: str, *, prompt: str = "a red ball", image: int = 0, seed: int = 0) -> Request:
    """What each baseline can do: two frames edited, or two made from one."""
    shown = 2 if name == "instruct-pix2pix" else 1
    return Request(prompt=prompt, frames=source(image, shown), masks=None, num_frames=2, seed=seed)
