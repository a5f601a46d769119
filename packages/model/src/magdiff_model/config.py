"""Settings from a YAML file, overridden by the command line."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TypeVar

import tyro

from magdiff_curation.settings import build, read_yaml

Settings = TypeVar("Settings")


def parse(kind: type[Settings], arguments: list[str], prog: str) -> Settings:
    """Return the settings of a command line whose `--config` file, where given, holds the defaults.

    Raises:
        ValueError: the file has a setting that does not exist, or a value of the wrong type.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    config = first.parse_known_args(arguments)[0].config
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    nothing = dataclasses.MISSING
    open_fields = {f.name: tyro.MISSING for f in fields if f.default is nothing and f.default_factory is nothing}
    defaults = build(kind, read_yaml(config) if config else {}, str(config), **open_fields)
    return tyro.cli(kind, args=arguments, default=defaults, prog=prog)
