"""Stamps: which file a network came from, so that a result can say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import nn

_ATTRIBUTE = "weights_stamp"
_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """Where weights came from; `dataclasses.asdict` belongs into every result that was made with them."""

    file: str
    """The file's name, without its folder."""
    sha256: str
    format: str
    """How it was read: state dict, torchscript, chainer npz, safetensors or numpy npz."""
    checked: str
    """Against what: "sha256", "nothing: no published sha256 is known", or how it differs where that was accepted."""
    notes: tuple[str, ...] = ()
    """What else a reader of the score must know, such as what it does not compare with."""
    beside: tuple[Stamp, ...] = ()
    """Further files that belong to it."""


def stamped(network: _Network, stamp: Stamp) -> _Network:
    """Return the network, which carries the stamp from now on."""
    network.__dict__[_ATTRIBUTE] = stamp  # past Module.__setattr__: it is neither parameter nor submodule
    return network


def stamp_of(network: nn.Module) -> Stamp:
    """Return the stamp of a network that this package loaded.

    Raises:
        ValueError: it was not loaded from a file here.
    """
    stamp = network.__dict__.get(_ATTRIBUTE)
    if not isinstance(stamp, Stamp):
        raise ValueError(f"this {type(network).__name__} carries no stamp: load it with magdiff_eval.weights")
    return stamp
