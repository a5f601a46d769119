"""Reading weights files without running anything that they bring, and filling a network with what they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from tokenize import TokenError

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from magdiff_eval.weights.archive import DAMAGE, is_torchscript, torchscript_tensors
from magdiff_eval.weights.names import translated

_COUNTS = "num_batches_tracked"
"""How often a norm was trained: of no use here, and older files lack it."""


def read_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return a file's named tensors, and its format: what it is is told by its content, and by its suffix for .npz.

    Formats are a state dict that `torch.save` wrote (only tensors are unpickled), a TorchScript archive (not run), an
    npz of Chainer's or numpy's (without objects), and safetensors.

    Raises:
        ValueError: it is damaged, or holds more than tensors.
    """
    if path.suffix == ".npz":
        arrays = read_arrays(path)
        try:
            return {name: torch.from_numpy(array) for name, array in arrays.items()}, "chainer npz"
        except TypeError as error:
            raise _unreadable(path, error) from error
    if path.suffix == ".safetensors":
        try:
            return load_file(path), "safetensors"
        except (SafetensorError, *DAMAGE) as error:
            raise _unreadable(path, error) from error
    try:
        scripted = is_torchscript(path)
    except DAMAGE as error:
        raise _unreadable(path, error) from error
    if scripted:
        return torchscript_tensors(path), "torchscript"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(
            f"{path} is no state dict, or is damaged, or asks for more than tensors, which could run code, and was not "
            f"loaded ({_short(error)}): get it again"
        ) from error
    except DAMAGE as error:
        raise _unreadable(path, error) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a state dict of named tensors: get it again")
    return state, "state dict"


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz.

    Raises:
        ValueError: it is damaged, or holds Python objects, which are never unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (*DAMAGE, SyntaxError, TokenError) as error:  # numpy reads an array's header as Python
        raise _unreadable(path, error) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{path}: {name} is no array, but {len(array)} bytes: get the file again")
    return arrays


def fill(
    network: nn.Module, tensors: Mapping[str, Tensor], path: Path, translate: Callable[[str], str | None]
) -> tuple[str, ...]:
    """Fill a network from a file's tensors, as float32, and return what is to be said of that.

    Every tensor of the network must be there, once and in its shape, but for counts of batches, and for the weights of
    all batch norms together: TensorFlow's I3D has none, which is the same as ones.

    Args:
        network: to be filled; it stays in evaluation mode.
        tensors: by the file's own names.
        path: the file, for messages.
        translate: the file's name -> the network's, None where unknown.

    Raises:
        ValueError: a tensor is missing, of another shape or not finite, or its name is unknown.
    """
    try:
        known, unknown = translated((name for name in tensors if not name.endswith(_COUNTS)), translate)
    except ValueError as error:
        raise ValueError(f"{path} does not fit: {error}") from error
    wanted = {name: value for name, value in network.state_dict().items() if not name.endswith(_COUNTS)}
    notes = [f"{len(unknown)} tensors that are no part of the network were left out"] if unknown else []
    gains = {name for name in wanted if name.endswith("bn.weight")}
    missing = [name for name in wanted if name not in known]
    if gains and set(missing) == gains:
        notes.append("its batch norms have no weights: ones")
    elif missing:
        raise ValueError(
            f"{path} does not have {len(missing)} of the {len(wanted)} tensors of {type(network).__name__}, the first "
            f"{missing[0]}; {len(unknown)} of its names are not known, such as {', '.join(unknown[:3]) or 'none'}: use "
            "a file whose names are known, or tell us the names, so that they can be added"
        )
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith(_COUNTS):
                value.zero_()
        for name, value in wanted.items():
            given = tensors[known[name]] if name in known else torch.ones_like(value)
            if given.shape != value.shape:
                raise ValueError(
                    f"{path}: {known[name]} has shape {list(given.shape)}, and {name} is {list(value.shape)}: this is "
                    "another network"
                )
            if not torch.isfinite(given).all():
                raise ValueError(f"{path}: {known[name]} has values that are not finite: get the file again")
            value.copy_(given)
    return tuple(notes)


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} cannot be read ({_short(error)}): it may have broken off, get it again")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
