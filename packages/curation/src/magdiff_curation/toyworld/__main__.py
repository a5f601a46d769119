"""`python -m magdiff_curation.toyworld dataset|benchmark|read`: write toyworld to disk, or ask the oracle."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Write videos with a manifest that pipelines/curate.py takes as it is."""

    output: Path
    """Folder to write to."""
    settings: tyro.conf.OmitArgPrefixes[DatasetSettings] = field(default_factory=DatasetSettings)

    def run(self) -> None:
        """Write the dataset."""

        def progress(done: int, total: int) -> None:
            if done % 10 == 0 or done == total:
                print(f"{done}/{total} clips", flush=True)

        print(f"wrote {write_dataset(self.output, self.settings, progress)}")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Write a folder in the official layout of one of the paper's benchmarks."""

    name: Literal["davis", "ucf101", "msrvtt", "dreambooth"]
    """Whose layout."""
    output: Path
    """Folder to write to."""
    seed: int = 0
    """The world."""

    def run(self) -> None:
        """Write the folder."""
        from magdiff_curation.toyworld.benchmarks import BENCHMARKS

        BENCHMARKS[self.name](self.output, seed=self.seed)
        print(f"wrote {self.output} in the layout of {self.name}")


@dataclass(frozen=True, kw_only=True)
class Read:
    """Print what the oracle sees in a toyworld video."""

    video: Path
    """An mp4 file of at least eight frames."""

    def run(self) -> None:
        """Print the reading."""
        from magdiff_curation.clips.video import decode
        from magdiff_curation.toyworld.oracles import Oracle

        reading = Oracle().read(decode(self.video.read_bytes()))
        print(f"a {reading.class_name} ({reading.pattern}), action {reading.action}, background {reading.background}")


def main() -> None:
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            {"dataset": Dataset, "benchmark": Benchmark, "read": Read}, prog="python -m magdiff_curation.toyworld"
        )
        command.run()
    except (ValueError, OSError) as error:
        sys.exit(f"toyworld: {error}")


if __name__ == "__main__":
    main()
