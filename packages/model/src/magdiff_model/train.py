"""Train MagDiff from a text-to-video base on shards: `python -m magdiff_model.train --shards data/curated`.

Under `torchrun` the same command trains on several GPUs. `magdiff_model.training.loop` is the whole of it.
"""

from __future__ import annotations

import sys

from magdiff_model.config import parse
from magdiff_model.data.dead_readers import reader_death
from magdiff_model.training.loop import train
from magdiff_model.training.settings import TrainSettings


def main() -> None:
    """Read the command line and train."""
    try:
        train(parse(TrainSettings, sys.argv[1:], "python -m magdiff_model.train"))
    except (ValueError, OSError) as error:
        sys.exit(f"train: {error}")
    except RuntimeError as error:
        death = reader_death(error)
        if death is None:
            raise
        sys.exit(f"train: {death}")


if __name__ == "__main__":
    main()
