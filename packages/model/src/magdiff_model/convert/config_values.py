"""The values of a diffusers UNet's config: of the kind that they should be, and one where a list says one thing.

diffusers takes many settings as one value or as a list, one value a level; MagDiff's UNet has one value for all levels,
which a list of equal values says just as well.
"""

from __future__ import annotations

from typing import Any

ALIKE = (
    "layers_per_block", "cross_attention_dim", "transformer_layers_per_block", "reverse_transformer_layers_per_block",
    "only_cross_attention",
)  # fmt: skip
"""Settings that may be a list in the config, and are one value in MagDiff's UNet."""

_LISTS = {"block_out_channels": int, "down_block_types": str, "up_block_types": str}
_WHOLE = ("in_channels", "out_channels", "layers_per_block", "cross_attention_dim", "norm_num_groups")


def one_value_each(config: dict[str, Any], alike: tuple[str, ...] = ALIKE) -> dict[str, Any]:
    """Return the config with that value in place of every list, one value a level, of equal values.

    Lists of other lengths or with values that differ stay, for whoever reads them to refuse.

    Raises:
        ValueError: a value is not of its setting's kind.
    """
    for name, kind in _LISTS.items():
        value = config.get(name, [])
        if not isinstance(value, list) or not all(isinstance(entry, kind) for entry in value):
            raise _wrong(name, value, f"a list of {'whole numbers' if kind is int else 'names'}")
    levels = len(config.get("block_out_channels", [320, 640, 1280, 1280]))
    read = dict(config)
    for name in alike:
        value = config.get(name)
        if isinstance(value, list) and len(value) == levels and all(entry == value[0] for entry in value):
            read[name] = value[0]
    if read.get("reverse_transformer_layers_per_block") == 1:
        del read["reverse_transformer_layers_per_block"]  # as many as on the way down
    for name in _WHOLE:
        value = read.get(name, 1)
        if not isinstance(value, list) and (not isinstance(value, int) or value < 1):
            raise _wrong(name, value, "a whole number from 1")
    if not isinstance(read.get("norm_eps", 1e-5), int | float):
        raise _wrong("norm_eps", read["norm_eps"], "a number")
    return read


def _wrong(name: str, value: object, kind: str) -> ValueError:
    return ValueError(f"{name} is {value!r} in unet/config.json, which should be {kind}: get the checkpoint again")
