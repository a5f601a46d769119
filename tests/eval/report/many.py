"""Five methods' runs of 64 prompts, 384 videos of 40 kB: what the page must open quickly with."""

from pathlib import Path

import numpy as np
from eval.report.runs import distinct, item, row, videos, write_run

METHODS = ("MagDiff", "AnimateDiff", "I2VGen-XL", "SVD", "Tune-A-Video")
GROUPS = ("style", "object", "background", "multiple")
NUM_PROMPTS, VIDEO_BYTES = 64, 40_000


def write_many(folder: Path) -> list[Path]:
    """Write the runs; in MagDiff's one video failed, and one is too short to be scored."""
    samples = videos(8)
    scenes = [f"scene-{number:02d}" for number in range(NUM_PROMPTS // 4)]
    items = [
        item(f"{scene}/{group}", f"{scene.replace('-', ' ')} with another {group}", group)
        for scene in scenes
        for group in GROUPS
    ]
    made = iter(range(10_000))

    def files() -> dict[str, bytes]:
        numbers = {entry["name"]: next(made) for entry in items}
        return {name: distinct(samples[n % len(samples)], n, VIDEO_BYTES) for name, n in numbers.items()}

    given = files()
    folders = []
    for method in METHODS:
        rng = np.random.default_rng(len(folders))
        rows = [
            row(entry["name"], 0.2 + 0.1 * round(float(rng.random()), 4), round(float(rng.random()), 4))
            for entry in items
        ]
        videos_of, failed = files(), dict[str, str]()
        if method == METHODS[0]:
            rows[5] = row(items[5]["name"], fault={"reason": "not_there", "detail": "there is no such video"})
            rows[6] = row(items[6]["name"], clip="length_not_taken")
            del videos_of[items[5]["name"]]
            failed = {items[5]["name"]: "the mask is empty"}
        shown = {} if folders else given
        folders.append(write_run(folder / method, method, items, rows, made=videos_of, given=shown, failed=failed))
    return folders
