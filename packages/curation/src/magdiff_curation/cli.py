"""The curation command: a table of subcommands over one set of settings; without one, it runs."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from magdiff_curation.clips.foreign import index_and_describe
from magdiff_curation.clips.location import location
from magdiff_curation.commit import Workspace
from magdiff_curation.config import CurationSettings, load_settings
from magdiff_curation.pipeline import curate, say
from magdiff_curation.plan import plan, status, validate
from magdiff_curation.repack import repack
from magdiff_curation.report import write_report
from magdiff_curation.runs import Superseded, begin


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every subcommand understands."""

    settings: Annotated[CurationSettings, tyro.conf.arg(name="")]
    """What the config file says; every setting can be overridden here."""
    config: Path = Path("pipelines/configs/default.yaml")
    """Settings file (YAML)."""
    preset: Literal["manifest", "toyworld", "full"] | None = None
    """Which models look at the pictures: none (the manifest answers), the zoo's, or the real ones. The settings file's
    own choices come on top."""
    address: str | None = None
    """A Ray cluster's address; by default the cluster that runs this job, or else a Ray of its own."""

    @property
    def ray_address(self) -> str:
        """Where to run."""
        return self.address or os.environ.get("RAY_ADDRESS") or "local"

    def __call__(self) -> None:
        """Do it."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Run(Options):
    """Curate videos with captions into WebDataset shards of clips with labelled, masked subjects.

    Other things to do: validate, plan, status, retry, report, repack, index (curate.py NAME --help).
    """

    dry_run: bool = False
    """Say what would be done, and do nothing."""
    retry_errors: bool = False
    """Also do again what failed in earlier runs."""

    def __call__(self) -> None:
        curate(self.settings, address=self.ray_address, dry_run=self.dry_run, retry_errors=self.retry_errors)


@dataclass(frozen=True, kw_only=True)
class Validate(Options):
    """Look whether packages, models, source and output are there, without running anything."""

    def __call__(self) -> None:
        if not validate(self.settings):
            sys.exit(1)


@dataclass(frozen=True, kw_only=True)
class Plan(Options):
    """Take a sample through the stages and say what the rest would take, in time, space and money."""

    sample: int = 16
    """Inputs to measure, evenly spread; what comes of them stays."""

    def __call__(self) -> None:
        plan(self.settings, self.ray_address, self.sample)


@dataclass(frozen=True, kw_only=True)
class Status(Options):
    """Say how far the runs into an output folder have come."""

    def __call__(self) -> None:
        status(self.settings.output, self.settings.work)


@dataclass(frozen=True, kw_only=True)
class Retry(Options):
    """Run, and do again what failed in earlier runs; what a rule dropped stays dropped."""

    def __call__(self) -> None:
        curate(self.settings, address=self.ray_address, retry_errors=True)


@dataclass(frozen=True, kw_only=True)
class Report(Options):
    """Write report.html of an output folder again."""

    def __call__(self) -> None:
        say(f"look at {write_report(self.settings.output)}")


@dataclass(frozen=True, kw_only=True)
class Repack(Options):
    """Write a set's shards again, full ones in the order of their keys, after many small additions."""

    def __call__(self) -> None:
        output = self.settings.output
        run = begin(Workspace(output).runs, self.settings.result_sha256())
        listing = repack(output, self.settings.shard_megabytes * 10**6, run.check)
        say(f"{sum(listing.num_samples)} clips are now in {len(listing.shards)} shards of {output}")


@dataclass(frozen=True, kw_only=True)
class Index:
    """Index WebDataset shards that other tools wrote, so that they can be checked, ordered and read by range."""

    shards: Path
    """Folder of .tar files; their indexes and shards.json are written beside them."""

    def __call__(self) -> None:
        listing, summary = index_and_describe(location(self.shards))
        say(f"{summary}\n{len(listing.shards)} shards are indexed in {self.shards}")


COMMANDS: dict[str, type[Options] | type[Index]] = {
    "run": Run,
    "validate": Validate,
    "plan": Plan,
    "status": Status,
    "retry": Retry,
    "report": Report,
    "repack": Repack,
    "index": Index,
}


def main(default_config: Path) -> None:
    """Do what the command line says; a user's mistake is one line on standard error, and exit status 1."""
    arguments = sys.argv[1:]
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "run"
    command = COMMANDS[name]
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray's own chatter; a clip's failure is in the ledger
    try:
        given: dict[str, Any] = {"args": arguments, "prog": f"curate.py {name}"}
        if issubclass(command, Options):
            given["default"] = _defaults(command, arguments, default_config)
        tyro.cli(command, **given)()
    except Superseded as error:
        sys.exit(f"curate: stopped: {error}")
    except (ValueError, OSError) as error:
        sys.exit(f"curate: {error}")


def _defaults(command: type[Options], arguments: list[str], default_config: Path) -> Options:
    """Return a subcommand with the settings of the file and preset that the command line names."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path, default=default_config)
    first.add_argument("--preset")
    known = first.parse_known_args(arguments)[0]
    return command(settings=load_settings(known.config, known.preset), config=known.config)
