"""Run a benchmark: `python -m magdiff_eval.run toyworld|davis --model CHECKPOINT --output FOLDER`.

Makes every video that is not there yet, scores it at once, and leaves results.json, results.md and report.html.
Stop it whenever you like; the same command goes on.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tyro

from magdiff_curation.clips.atomic import sha256_of_file, write_atomic
from magdiff_curation.clips.masks import Frames, subject_image
from magdiff_curation.clips.video import encode
from magdiff_eval.benchmarks.davis import Davis
from magdiff_eval.benchmarks.toyworld import Toyworld
from magdiff_eval.items import Item, Row, Task
from magdiff_eval.report.page import Shown, write_page
from magdiff_eval.results import RowFile, markdown
from magdiff_model.checkpoints import load_pipeline
from magdiff_model.pipeline import MagDiffPipeline
from magdiff_model.precision import Precision, pick_device


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every benchmark takes."""

    model: Path = Path("data/magdiff")
    """A pipeline folder that magdiff_model.train wrote."""
    output: Path = Path("data/scores")
    """Receives rows.jsonl, videos/, results.json, results.md and report.html."""
    steps: int = 50
    """Denoising steps."""
    guidance_scale: float = 7.5
    """Classifier-free guidance on the text; 7.5 is the paper's."""
    image_guidance_scale: float = 1.0
    """Guidance on the subject; 1 is none, as in the paper."""
    device: str = "auto"
    """auto: the GPU where there is one."""
    precision: Precision = "auto"
    """auto: bf16 where the hardware has it."""
    frame_rate: float = 8.0
    """Frames per second of the written videos."""


@dataclass(frozen=True, kw_only=True)
class ToyworldCommand(RunSettings):
    """Held-out toyworld clips before new backgrounds, judged by the oracles that know the truth."""

    num_clips: int = 100
    """How many clips."""
    seed: int = 30_000_001
    """Their world; train on another."""
    tasks: tuple[Task, ...] = ("edit", "generate")
    """What is made of each."""

    def benchmark(self, pipeline: MagDiffPipeline) -> Toyworld:
        """Return the benchmark."""
        return Toyworld(pipeline, self.num_clips, self.seed, self.tasks)


@dataclass(frozen=True, kw_only=True)
class DavisCommand(RunSettings):
    """Four edits of every DAVIS video, from a folder in LOVEU-TGVE 2023's layout (Table 3)."""

    output: Path = Path("data/davis-scores")
    """Receives rows.jsonl, videos/, results.json, results.md and report.html."""
    data: Path = Path("data/davis")
    """The folder."""
    num_videos: int | None = None
    """Take only the first so many."""

    def benchmark(self, pipeline: MagDiffPipeline) -> Davis:
        """Return the benchmark."""
        return Davis(pipeline, self.data, self.num_videos)


def run(settings: ToyworldCommand | DavisCommand) -> Path:
    """Make and score what is missing, write the summary, and return the report page's path.

    Raises:
        ValueError: model, data or an earlier run in the output folder do not fit; nothing was made.
    """
    pipeline = load_pipeline(settings.model).to(pick_device(settings.device))
    benchmark = settings.benchmark(pipeline)
    protocol = benchmark.protocol | {
        "unet_sha256": sha256_of_file(settings.model / "unet" / "diffusion_pytorch_model.safetensors"),
        "steps": settings.steps,
        "guidance_scale": settings.guidance_scale,
        "image_guidance_scale": settings.image_guidance_scale,
        "precision": settings.precision,
    }
    file = RowFile(settings.output, protocol)
    done = {row["name"] for row in file.rows}
    total, begin, made = sum(1 for _ in benchmark.items()), time.monotonic(), 0
    print(f"{total} videos, {len(done)} of them done by earlier runs", flush=True)
    for number, item in enumerate(benchmark.items()):
        if item.name in done:
            continue
        file.append(_make(pipeline, item, number, settings))
        made += 1
        left = (time.monotonic() - begin) / made * (total - len(file.rows))
        print(f"\r{len(file.rows)}/{total} videos, {left:.0f} s left ", end="", flush=True)
    print()
    tables = benchmark.table(file.rows)
    means = {title: {line[0]: line[1:] for line in lines} for title, _, lines in tables}
    packages = {name: version(name) for name in ("magdiff-eval", "torch", "diffusers", "transformers")}
    versions = packages | {"python": platform.python_version()}
    results = {"protocol": protocol, "versions": versions, "tables": means, "rows": file.rows}
    write_atomic(settings.output / "results.json", json.dumps(results, indent=1).encode())
    write_atomic(settings.output / "results.md", markdown(tables).encode())
    page = settings.output / "report.html"
    notes = [f"{name}: {value}" for name, value in protocol.items() if not isinstance(value, (list, dict))]
    shown = [Shown(**_files(settings.output, row["name"]), row=row) for row in file.rows]
    write_page(page, f"MagDiff on {protocol['benchmark']}", [" · ".join(notes)], tables, shown)
    print(markdown(tables))
    print(f"look at {page}")
    return page


def _make(pipeline: MagDiffPipeline, item: Item, number: int, settings: RunSettings) -> Row:
    """Return the row of one item, made with the noise of its number; its videos are on disk before."""
    shown = slice(1) if item.task == "generate" else slice(None)
    begin = time.monotonic()
    video: Frames = pipeline(
        item.prompt,
        item.source[shown],
        item.masks[shown],
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        image_guidance_scale=settings.image_guidance_scale,
        seed=number,
        precision=settings.precision,
    ).frames[0]
    seconds = round(time.monotonic() - begin, 2)
    subject = np.stack([subject_image(*pair) for pair in zip(item.source[shown], item.masks[shown], strict=True)])
    # A single picture is shown as long as the rest: a video of one frame stutters in a browser.
    subject = np.repeat(subject, len(video), axis=0) if len(subject) == 1 else subject
    pictures = {"source": item.source, "subject": subject, "result": video}
    for name, path in _files(settings.output, item.name).items():
        write_atomic(path, encode(pictures[name], settings.frame_rate))
    return {"name": item.name, "task": item.task, "prompt": item.prompt, **item.score(video), "seconds": seconds}


def _files(output: Path, name: str) -> dict[str, Path]:
    return {kind: output / "videos" / f"{name}-{kind}.mp4" for kind in ("source", "subject", "result")}


def main() -> None:
    """Read the command line and run."""
    try:
        run(
            tyro.extras.subcommand_cli_from_dict(
                {"toyworld": ToyworldCommand, "davis": DavisCommand}, prog="python -m magdiff_eval.run"
            )
        )
    except (ValueError, OSError) as error:
        sys.exit(f"run: {error}")


if __name__ == "__main__":
    main()
