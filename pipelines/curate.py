#!/usr/bin/env python3
"""Curate videos into shards.

ray job submit pipelines/curate.py                     on a cluster, with pipelines/configs/default.yaml
python pipelines/curate.py --config my.yaml            without a cluster
python pipelines/curate.py --preset toyworld           with the zoo's tiny models, offline
python pipelines/curate.py validate --source videos/   is everything there?
python pipelines/curate.py plan --source videos/       what would it take?
python pipelines/curate.py status|retry|report|repack  afterwards
"""

from __future__ import annotations

from pathlib import Path

from magdiff_curation.cli import main

if __name__ == "__main__":
    main(Path(__file__).resolve().parent / "configs" / "default.yaml")
