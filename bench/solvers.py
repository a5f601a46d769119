"""Few-step solvers against 50-step DDIM, on the same clips, prompts and noise: `python bench/solvers.py MODEL`.

Every held-out toyworld clip is made by DDIM and by the others in turn, and judged by the frozen oracles. Printed are
each solver's scores, the paired differences from DDIM with the lower end of their 95% interval, and the ratio of
median times. Rows are kept, so a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from magdiff_eval.harness.shown import show
from magdiff_eval.harness.toyworld import Toyworld
from magdiff_eval.metrics.regions import mean_errors, squared_errors
from magdiff_eval.scoring.items import ScoredItem
from magdiff_model.checkpoints import load_pipeline
from magdiff_model.data.framing import framed_frames, framed_masks

DDIM = "ddim 50"


def main() -> None:
    """Make, judge and compare."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("model", help="a trained MagDiff's folder")
    options.add_argument("--clips", type=int, default=200)
    options.add_argument("--seed", type=int, default=30_000_001, help="the world; train on another")
    options.add_argument("--task", choices=("edit", "generate"), default="edit")
    options.add_argument("--solvers", nargs="+", default=["unipc 16", "dpmsolver++ 16"], help='such as "unipc 16"')
    options.add_argument("--guidance-scale", type=float, default=1.0)
    options.add_argument("--image-guidance-scale", type=float, default=2.0)
    options.add_argument("--output", type=Path, default=Path("data/bench/solvers/rows.jsonl"))
    chosen = options.parse_args()
    pipeline = load_pipeline(chosen.model)
    drawn = chosen.output.parent / "drawn"
    world = Toyworld(drawn, chosen.clips, chosen.seed, (chosen.task,), pipeline.config.num_frames)
    items, oracle = world.listing().items, world.metric()
    assert oracle.scores is not None, "a score of videos"
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in chosen.output.read_text().splitlines()] if chosen.output.is_file() else []
    made = {(row["clip"], row["solver"]) for row in rows}
    variants = [DDIM, *chosen.solvers]
    for number, item in enumerate(items):
        shown = show(item, pipeline.config.num_frames, _never)
        for name in variants if number % 2 else variants[::-1]:
            if (number, name) in made:
                continue
            solver, steps = name.split()
            begin = time.perf_counter()
            video = pipeline(
                item.prompt,
                shown.frames,
                shown.masks,
                num_inference_steps=int(steps),
                guidance_scale=chosen.guidance_scale,
                image_guidance_scale=chosen.image_guidance_scale,
                solver=solver,
                seed=number,
            ).frames[0]
            seconds = time.perf_counter() - begin
            scores = oracle.scores(oracle.extractor.prepare(video).numpy(), ScoredItem(name=item.name))
            if chosen.task == "edit":
                side = video.shape[1]
                framed = framed_frames(shown.frames, side).numpy(), framed_masks(shown.masks, side).numpy()
                errors = [squared_errors(*each) for each in zip(video, *framed, strict=True)]
                scores |= mean_errors(np.array(errors))
            row = {"clip": number, "solver": name, "seconds": seconds, **scores}
            rows.append(row)
            with chosen.output.open("a") as file:
                file.write(json.dumps(row, default=float) + "\n")
        print(f"\r{number + 1}/{chosen.clips} clips", end="", flush=True)
    print()
    by_solver = {name: sorted((row for row in rows if row["solver"] == name), key=_clip) for name in variants}
    for name, own in by_solver.items():
        print(f"{name}: {len(own)} clips, {np.median([row['seconds'] for row in own]):.2f} s each (median)")
        ratio = np.median([row["seconds"] for row in own]) / np.median([row["seconds"] for row in by_solver[DDIM]])
        print(f"  time                 {ratio:.3f} x")
        for score in own[0]:
            if score in ("clip", "solver", "seconds"):
                continue
            values = np.array([float(row[score]) for row in own])
            differences = values - np.array([float(row[score]) for row in by_solver[DDIM]])
            low = differences.mean() - 1.96 * differences.std(ddof=1) / np.sqrt(len(differences))
            print(f"  {score:20} {values.mean():.4f}  {differences.mean():+.4f}, at least {low:+.4f}")


def _never(*_: object) -> tuple[None, str]:
    raise AssertionError("toyworld's subjects have masks")


def _clip(row: dict[str, float]) -> float:
    return row["clip"]


if __name__ == "__main__":
    main()
