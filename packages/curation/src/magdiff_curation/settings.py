"""Plain values, as YAML gives them, into frozen settings dataclasses: strictly, with errors that help."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from magdiff_curation.clips.location import location

Settings = TypeVar("Settings")


def read_yaml(path: Path) -> object:
    """Return what a YAML file says; an empty one says nothing, which is an empty mapping.

    Raises:
        ValueError: not YAML; the message names the place.
    """
    with path.open(encoding="utf-8") as file:
        try:
            return yaml.safe_load(file) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def merged(base: object, over: object) -> object:
    """Return two nested mappings as one; where both say something, `over` does."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {name: merged(base.get(name), value) for name, value in over.items()}
    return over


def build(kind: type[Settings], value: object, where: str, **required: object) -> Settings:
    """Return a settings dataclass from plain values, refusing what it does not know.

    `required` are stand-ins for fields without a default, where the values may leave them out.

    Raises:
        ValueError: the message names the place, the value and the remedy.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a mapping of settings, got {value!r}")
    types_by_name = typing.get_type_hints(kind)
    for name in value:
        if name not in types_by_name:
            near = difflib.get_close_matches(str(name), types_by_name, n=1, cutoff=0.0)
            raise ValueError(f"{where}: there is no setting {name!r}; did you mean {near[0]!r}?")
    return kind(
        **required | {name: _convert(types_by_name[name], entry, f"{where}: {name}") for name, entry in value.items()}
    )


def _convert(kind: Any, value: object, where: str) -> object:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return build(kind, value, where)
    if typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise ValueError(f"{where} is {value!r}; it must be one of {', '.join(map(repr, typing.get_args(kind)))}")
        return value
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        (kind,) = (option for option in typing.get_args(kind) if option is not type(None))
    if typing.get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        entry_kinds = typing.get_args(kind)
        if entry_kinds[-1] is Ellipsis:
            entry_kinds = entry_kinds[:1] * len(value)
        if len(value) != len(entry_kinds):
            raise ValueError(f"{where} is {value!r}; it must have {len(entry_kinds)} entries")
        return tuple(_convert(entry, item, where) for entry, item in zip(entry_kinds, value, strict=True))
    if kind is Path and isinstance(value, str):
        return location(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise ValueError(f"{where} is {value!r}; it must be of type {kind.__name__}")
    return value
