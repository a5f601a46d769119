#!/usr/bin/env python3
"""Curate videos into shards.

ray job submit pipelines/curate.py                     on a cluster, with pipelines/configs/default.yaml
python pipelines/curate.py --config my.yaml            without a cluster
python pipelines/curate.py --preset toyworld           with the zoo's tiny models, offline
python pipelines/curate.py --preset full --source videos/ --output shards/ --filters.min-short-side-px 256
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from magdiff_curation.config import CurationSettings, load_settings
from magdiff_curation.pipeline import curate

DEFAULT_CONFIG = Path(__file__).resolve().parent / "configs" / "default.yaml"


@dataclass(frozen=True, kw_only=True)
class Command:
    """Curate videos with captions into WebDataset shards of clips with labelled, masked subjects."""

    settings: Annotated[CurationSettings, tyro.conf.arg(name="")]
    """What the config file says; every setting can be overridden here."""
    config: Path = DEFAULT_CONFIG
    """Settings file (YAML)."""
    preset: Literal["manifest", "toyworld", "full"] | None = None
    """Which models look at the pictures: none (the manifest answers), the zoo's, or the real ones. The settings file's
    own choices come on top."""
    dry_run: bool = False
    """Say what would be done, and do nothing."""
    retry_errors: bool = False
    """Also do again what failed in earlier runs."""
    address: str | None = None
    """A Ray cluster's address; by default the cluster that runs this job, or else a Ray of its own."""


def main() -> None:
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
    first.add_argument("--preset")
    known = first.parse_known_args()[0]
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray's own chatter; a clip's failure is in the ledger
    try:
        defaults = Command(settings=load_settings(known.config, known.preset), config=known.config)
        command = tyro.cli(Command, default=defaults)
        address = command.address or os.environ.get("RAY_ADDRESS") or "local"
        curate(command.settings, address=address, dry_run=command.dry_run, retry_errors=command.retry_errors)
    except (ValueError, OSError) as error:
        sys.exit(f"curate: {error}")


if __name__ == "__main__":
    main()
