"""A checkpoint's plain values as JSON, and back: what JSON would give back changed is refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from magdiff_curation.clips.atomic import canonical_json


def to_json(values: Mapping[str, Any]) -> bytes:
    """Return values as JSON; numbers in `values["losses"]` may be NaN or infinite, and are then strings there.

    Raises:
        ValueError: a value that JSON would not give back, by name.
    """
    values = dict(values)
    losses = values.get("losses")
    if isinstance(losses, list | tuple):
        if any(isinstance(loss, str) for loss in losses):
            raise ValueError("losses holds a string: losses are numbers")
        values["losses"] = [str(x) if isinstance(x, float) and not math.isfinite(x) else x for x in losses]
    _refuse_what_json_changes(values, "")
    return canonical_json(values)


def from_json(state: bytes) -> dict[str, Any]:
    """Return what `to_json` was given; tuples have become lists."""
    values: dict[str, Any] = json.loads(state)
    if isinstance(values.get("losses"), list):
        values["losses"] = [float(x) if isinstance(x, str) else x for x in values["losses"]]
    return values


def _refuse_what_json_changes(value: object, name: str) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}: a checkpoint keeps finite values only, outside of losses")
    elif isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{name or 'values'} has the key {key!r}: JSON would make a string of it")
            _refuse_what_json_changes(entry, f"{name}.{key}" if name else key)
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            _refuse_what_json_changes(entry, f"{name}[{number}]")
    elif not isinstance(value, str | int | None):
        raise ValueError(f"{name} is a {type(value).__name__}, which JSON does not have")
