"""Networks from weights files, each with a stamp of the file that it came from.

Files that differ from the published ones in size or sha256 are refused, unless `unchecked` asks for them: the stamp
then says so. Nothing is downloaded; what is missing is named, with how to get it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from magdiff_curation.clips.atomic import sha256_of_file
from magdiff_eval.models.c3d import C3D, MEAN_SHAPE
from magdiff_eval.models.i3d import InceptionI3d
from magdiff_eval.models.toyworld import ToyworldExtractor
from magdiff_eval.weights import registry
from magdiff_eval.weights.check import USABLE, Checked, check_choice, first_here, is_ready
from magdiff_eval.weights.files import fill, read_arrays, read_tensors
from magdiff_eval.weights.names import c3d_name, i3d_name
from magdiff_eval.weights.registry import Choice
from magdiff_eval.weights.stamps import Stamp, stamped

_Network = TypeVar("_Network", bound=nn.Module)

ZOO = Path("zoo/toyworld_extractor")
"""Where toyworld's extractor is, seen from the repository."""


def load_i3d(
    folder: Path, *, file: str | None = None, other_weights: bool = False, unchecked: bool = False, bn_eps: float = 1e-3
) -> InceptionI3d:
    """Return I3D with the weights of Kinetics-400 that FVD is made with, in evaluation mode on the CPU, float32.

    Args:
        folder: the weights folder.
        file: the file's name there; None takes the first that is here of `i3d_pretrained_400.pt` and
            `i3d_torchscript.pt`, two ports of one model.
        other_weights: also take `i3d_rgb_imagenet.pt`, which published FVDs were not made with.
        unchecked: take a file whose size or sha256 is not the published one.
        bn_eps: of the batch norms: 1e-3 in TensorFlow's model, 1e-5 in VideoGPT and cd-fvd.

    Raises:
        ValueError: no such file, another one than the published, a damaged one, or names that are not known.
    """
    choice, checked = _chosen("fvd", folder, file, unchecked, asked=other_weights)
    network = _blank(lambda: InceptionI3d(bn_eps=bn_eps))
    tensors, kind = read_tensors(checked[0].path)
    notes = fill(network, tensors, checked[0].path, i3d_name)
    more = (f"batch norms' epsilon: {bn_eps:g}", *([choice.note] if choice.note else []))
    return stamped(network, _stamp(checked[0], kind, (*more, *notes)))


def load_c3d(folder: Path, *, file: str | None = None, unchecked: bool = False) -> tuple[C3D, NDArray[np.float32]]:
    """Return C3D trained on UCF-101, in evaluation mode on the CPU, and its mean [3, 16, 128, 171] in BGR, 0 to 255.

    Args:
        folder: the weights folder.
        file: the network's file there; None takes the first that is here of `conv3d_deepnetA_ucf.npz` and
            `c3d_ucf101.pt`. The mean is TGAN2's `mean2.npz` with both.
        unchecked: take a file whose size or sha256 is not the published one.

    Raises:
        ValueError: no such file, another one than the published, a damaged one, or names that are not known.
    """
    _, checked = _chosen("video-is", folder, file, unchecked)
    arrays = read_arrays(checked[1].path)
    mean = arrays.get("mean")
    if mean is None or mean.shape != MEAN_SHAPE or mean.dtype.kind != "f" or not np.isfinite(mean).all():
        held = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in arrays.items()) or "nothing"
        raise ValueError(
            f"{checked[1].path} holds {held}, and needs mean, finite floats {list(MEAN_SHAPE)}: get it again"
        )
    network = _blank(C3D)
    tensors, kind = read_tensors(checked[0].path)
    notes = fill(network, tensors, checked[0].path, c3d_name)
    beside = (_stamp(checked[1], "numpy npz"),)
    return stamped(network, _stamp(checked[0], kind, notes, beside)), mean.astype(np.float32)


def load_toyworld(folder: Path = ZOO, *, unchecked: bool = False) -> ToyworldExtractor:
    """Return toyworld's extractor, in evaluation mode on the CPU; its stamp says what it does not compare with.

    Args:
        folder: the zoo's folder.
        unchecked: take another file than the repository's.

    Raises:
        ValueError: no such file, or another one.
    """
    choice, checked = _chosen("toyworld", folder, None, unchecked)
    network = _blank(ToyworldExtractor)
    tensors, kind = read_tensors(checked[0].path)
    notes = fill(network, tensors, checked[0].path, lambda name: name)
    return stamped(network, _stamp(checked[0], kind, (choice.note, *notes)))


def hub_folder(metric: str, folder: Path, *, unchecked: bool = False) -> tuple[Path, Stamp]:
    """Return the folder of a metric's model in transformers' layout, once its files are checked, and their stamp.

    Args:
        metric: clip-l14, clip-b32, dino or pickscore.
        folder: the weights folder.
        unchecked: take weights that are not the published ones.

    Raises:
        ValueError: no such metric, or files that are missing or differ from the published.
    """
    _, checked = _chosen(metric, folder, None, unchecked)
    beside = tuple(_stamp(one, one.path.suffix.removeprefix(".")) for one in checked[1:])
    return checked[0].path.parent, _stamp(checked[0], "safetensors", beside=beside)


def _blank(make: Callable[[], _Network]) -> _Network:
    """Return a network with memory for its weights and nothing in it: C3D's random ones take seconds."""
    with torch.device("meta"):
        network = make()
    return network.to_empty(device="cpu")


def _chosen(
    metric: str, folder: Path, file: str | None, unchecked: bool, *, asked: bool = False
) -> tuple[Choice, Sequence[Checked]]:
    """Return the choice that is taken and its files: the one that `file` names, or the first that is here."""
    choices = [choice for choice in registry.choices_of(metric) if asked or not choice.only_if_asked]
    if file is not None:
        called = {name: choice for choice in registry.choices_of(metric) for name in _names(choice)}
        if file not in called:
            raise ValueError(f"{metric} has no file {file!r}: give one of {', '.join(called)}")
        if called[file] not in choices:
            raise ValueError(f"{file} is not taken unless asked for (other_weights): {called[file].note}")
        choices = [called[file]]
    looked = [(choice, check_choice(choice, folder)) for choice in choices]
    there = first_here(looked)
    if there and (unchecked or is_ready(there[1])):
        return there
    told = [
        f"{one.path}: {one.told()}; to get it: {one.remedy()}"
        for _, checked in ([there] if there else looked)
        for one in checked
        if one.state not in USABLE
    ]
    if not there and not asked and file is None:
        told += [
            f"{_names(other)[0]} is here, but not taken unless asked for (other_weights): {other.note}"
            for other in registry.choices_of(metric)
            if other.only_if_asked and is_ready(check_choice(other, folder))
        ]
    remedy = "; unchecked=True takes it as it is, and the stamp says so" if there else ""
    raise ValueError(f"weights for {metric}: {' -- or '.join(dict.fromkeys(told))}{remedy}")


def _names(choice: Choice) -> tuple[str, ...]:
    first = choice.files[0]
    return (first.name, *first.also_called)


def _stamp(checked: Checked, kind: str, notes: Sequence[str] = (), beside: tuple[Stamp, ...] = ()) -> Stamp:
    sha256 = checked.sha256 or sha256_of_file(checked.path)
    known = {"found": "sha256", "unverified": "nothing: no published sha256 is known"}
    return Stamp(
        file=checked.path.name,
        sha256=sha256,
        format=kind,
        checked=known.get(checked.state, f"taken as it is: {checked.told()}"),
        notes=tuple(notes),
        beside=beside,
    )
