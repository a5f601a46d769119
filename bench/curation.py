"""How right curation is where the truth is known: held-out toyworld clips through every stage, against their truth.

python bench/curation.py                       200 plain clips of 512 px and more, with the zoo's models
python bench/curation.py --distractors 2 --camera-drift 0.3

Figures: the share of right answers (the class's own noun, or a synonym) and of right labels; each clip's mean overlap
(IoU) of found and true masks over all its frames, where a clip without masks counts as 0; and how often the area rules
decide as they do on the true masks, as set and at stricter limits that cut through the middle of the clips. The run
itself leaves the area rules open, so that masks are there to compare.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from magdiff_curation.clips.masks import Masks, area_ratio, decode_rle, intersection_over_union
from magdiff_curation.commit import Workspace
from magdiff_curation.config import CurationSettings, FilterSettings, load_settings
from magdiff_curation.filters import check_area, check_training_view, share_of_samples
from magdiff_curation.reasons import ClipRejected
from magdiff_curation.sources import list_inputs
from magdiff_curation.stages import STAGES
from magdiff_curation.state import ClipState
from magdiff_curation.toyworld.captions import NOUNS
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset
from magdiff_curation.toyworld.scene import Difficulty
from magdiff_curation.worker import StageWorker

SEED = 30_000_017
SIZES = ((512, 512), (768, 512), (512, 640), (910, 512))
"""Width and height; the clips take turns, half of them square."""


def draw(folder: Path, num_clips: int, difficulty: Difficulty) -> Path:
    """Write the clips, once, and return their one manifest."""
    manifest = folder / "manifest.jsonl"
    if manifest.is_file():
        return manifest
    rows = []
    for number, (width, height) in enumerate(SIZES):
        count = num_clips // 2 if number == 0 else num_clips // 6 + (number <= num_clips // 2 % 3)
        part = folder / f"{width}x{height}"
        settings = DatasetSettings(
            num_clips=count, seed=SEED + number, width=width, height=height, difficulty=difficulty
        )
        for line in write_dataset(part, settings).read_text().splitlines():
            row = json.loads(line)
            rows.append(row | {"video": f"{part.name}/{row['video']}"})
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def run_part(settings: CurationSettings, states: list[ClipState]) -> list[tuple[ClipState, list[object]]]:
    """Run every stage but the commit on some clips; return them with their masks (RLE), none where there are none."""
    worker = StageWorker(tuple(STAGES), settings)
    done = []
    for state in states:
        (text,) = worker.work([state.to_json()])
        finished = ClipState.from_json(text)
        masks = Workspace(settings.output).masks(finished.row_id)
        done.append((finished, json.loads(masks.read_bytes()) if masks.is_file() else []))
    return done


def decision(masks: Masks, filters: FilterSettings) -> str:
    """Return what the area rules say of masks."""
    try:
        check_area([area_ratio(mask) for mask in masks], filters)
        check_training_view(share_of_samples(masks, filters), filters)
    except ClipRejected as rejected:
        return str(rejected.reason)
    return "kept"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-clips", type=int, default=200)
    parser.add_argument("--distractors", type=int, default=0)
    parser.add_argument("--camera-drift", type=float, default=0.0)
    parser.add_argument("--config", type=Path, default=Path("pipelines/configs/default.yaml"))
    parser.add_argument("--preset", default="toyworld")
    parser.add_argument("--folder", type=Path, default=Path("data/bench/curation"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--draw-only", action="store_true")
    options = parser.parse_args()
    difficulty = Difficulty(num_distractors=options.distractors, camera_drift=options.camera_drift)
    folder = options.folder / f"{options.num_clips}-{options.distractors}-{options.camera_drift:g}"
    manifest = draw(folder, options.num_clips, difficulty)
    if options.draw_only:
        return
    shutil.rmtree(folder / "out", ignore_errors=True)
    settings = load_settings(options.config, options.preset)
    rules = settings.filters
    view = dataclasses.replace(rules.training_view, crop="none")
    opened = dataclasses.replace(rules, min_area_ratio=0.0, max_area_ratio=1.0, training_view=view)
    settings = dataclasses.replace(settings, source=manifest, output=folder / "out", filters=opened)
    states = list_inputs(settings)
    parts = [states[start :: options.workers] for start in range(options.workers)]
    begin = time.monotonic()
    with ProcessPoolExecutor(options.workers) as pool:
        done = [pair for part in pool.map(run_part, [settings] * len(parts), parts) for pair in part]
    seconds = time.monotonic() - begin
    report(rules, done, manifest.parent)
    stages = {name: np.mean([state.seconds.get(name, 0) for state, _ in done]) for name in STAGES}
    print("seconds a clip: " + ", ".join(f"{name} {value:.2f}" for name, value in stages.items()))
    print(f"{len(done)} clips in {seconds:.0f} s with {options.workers} workers, loading included")


def report(rules: FilterSettings, done: list[tuple[ClipState, list[object]]], folder: Path) -> None:
    """Print the figures, and the clips that went wrong."""
    answers, labels, overlaps, pairs, wrong = [], [], [], [], []
    for state, rles in done:
        nouns = NOUNS[state.fields["class_name"]]
        video = Path(state.source)
        truth_path = folder / video.parent.parent / "truth" / f"{video.stem}.masks.json"
        truth = np.stack([decode_rle(rle) for rle in json.loads(truth_path.read_bytes())])
        answers.append(any(state.answer == f"a {noun}" for noun in nouns))
        labels.append(state.label in nouns)
        found = np.stack([decode_rle(rle) for rle in rles]) if rles else None  # type: ignore[arg-type]
        pairs.append((truth, found))
        overlap = 0.0
        if found is not None:
            overlap = np.mean([intersection_over_union(*both) for both in zip(found, truth, strict=True)])
        overlaps.append(float(overlap))
        if not (answers[-1] and labels[-1]) or overlap < 0.8:
            wrong.append(f"  {overlap:.3f} {state.source}: {nouns[0]}, answer {state.answer!r}, label {state.label!r}, "
                         f"{state.reason or 'kept'} {state.detail}")  # fmt: skip
    ordered = np.sort(overlaps)
    tenth = max(1, len(ordered) // 10)
    print(f"answer right {np.mean(answers):.1%}, label right {np.mean(labels):.1%}")
    print(f"IoU over all frames: mean {np.mean(overlaps):.3f}, median {np.median(overlaps):.3f}, "
          f"worst tenth: mean {ordered[:tenth].mean():.3f}, best of it {ordered[tenth - 1]:.3f}")  # fmt: skip
    with_masks = np.array([overlap for overlap, (_, found) in zip(overlaps, pairs, strict=True) if found is not None])
    print(
        f"the {len(with_masks)} clips that have masks: mean {with_masks.mean():.3f}, "
        f"worst tenth: mean {np.sort(with_masks)[: max(1, len(with_masks) // 10)].mean():.3f}"
    )
    for smallest in (rules.min_area_ratio, 0.12, 0.16, 0.2):
        filters = dataclasses.replace(rules, min_area_ratio=smallest)
        right = [(decision(found, filters) if found is not None else "none") == decision(truth, filters)
                 for truth, found in pairs]  # fmt: skip
        kept = np.mean([decision(truth, filters) == "kept" for truth, _ in pairs])
        print(
            f"area rules from {smallest:g}: decided as on true masks {np.mean(right):.1%} (true masks keep {kept:.0%})"
        )
    print(f"{len(wrong)} clips with a wrong answer or label, or an overlap under .8:", *sorted(wrong), sep="\n")


if __name__ == "__main__":
    main()
