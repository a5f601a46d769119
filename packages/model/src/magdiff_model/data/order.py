"""The order of training: a pure function of (seed, epoch), whoever asks.

Nothing here knows of ranks or workers: position p of epoch e is the same clip with the same random numbers on one
process or on many, so a run resumes by its position alone.
"""

from __future__ import annotations

import numpy as np


def epoch_order(num_clips: int, seed: int, epoch: int) -> np.ndarray:
    """Return the clips' numbers in this epoch's order, int64 [num_clips]: each once."""
    return np.random.default_rng([seed, epoch]).permutation(num_clips)


def sample_generator(seed: int, epoch: int, position: int) -> np.random.Generator:
    """Return the random generator of one sample: its window, drops, timestep and noise."""
    return np.random.default_rng([seed, epoch, position])
