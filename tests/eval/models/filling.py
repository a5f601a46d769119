"""Weights that anyone can make again: numpy's RandomState, in the order of the sorted names."""

import numpy as np
import torch
from numpy.typing import NDArray


def filling(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, NDArray[np.float32]]:
    """Return a value for each name of a state dict, so scaled that signals keep their size from layer to layer.

    Weights are uniform with variance 2 / fan-in, a norm's weights from 0.9 to 1.1, variances from 0.5 to 1.5, other
    vectors from -0.1 to 0.1.
    """
    random = np.random.RandomState(seed)
    filled = {}
    for name in sorted(shapes):
        shape = shapes[name]
        values = random.random_sample(shape) * 2 - 1
        if len(shape) > 1:
            values *= np.sqrt(6 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            values = 1 + values / 2
        elif name.endswith("bn.weight"):
            values = 1 + values / 10
        else:
            values /= 10
        filled[name] = values.astype(np.float32)
    return filled


def fill(network: torch.nn.Module, seed: int) -> None:
    """Fill every parameter and running statistic of a network; what counts batches stays."""
    state = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    made = filling({name: tuple(value.shape) for name, value in state.items()}, seed)
    with torch.no_grad():
        for name, value in state.items():
            value.copy_(torch.from_numpy(made[name]))
