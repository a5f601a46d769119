#!/usr/bin/env python3
"""All of MagDiff at work, on a laptop without a GPU or a network: `make demo`.

Runs the same commands that people type, and shows each. Stop it whenever you like: started again, it goes on.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.clips.index import load_shard_list
from magdiff_curation.clips.masks import subject_image
from magdiff_curation.clips.record import MASKS, VIDEO
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.clips.video import decode, encode
from magdiff_curation.config import LimitSettings
from magdiff_curation.normalize import probe_source
from magdiff_curation.reasons import ClipRejected
from magdiff_curation.toyworld.captions import BACKGROUND_PHRASES, plain_caption
from magdiff_eval.report.page import Shown, write_page

HONEST = (
    "The toy model has seen ten drawn subjects before ten drawn backgrounds at 64x64 pixels, never a photograph: "
    "expect the background to turn into toyworld's, and of your subject its place and a rough outline in toyworld's "
    "vivid colours. Real footage needs a real base model; the road is the same."
)
CONFIGS = Path(__file__).resolve().parent / "configs"


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Draw toyworld, curate it, train MagDiff on it, generate and edit, score, report."""

    output: Path = Path("data/demo")
    """Receives everything."""
    clips: int = 300
    """Toyworld clips to train on."""
    train_steps: int | None = None
    """Training steps; none takes the config's, some minutes on two cores."""
    scored: int = 12
    """Held-out clips that are edited, generated and scored."""
    video: Path | None = None
    """A video of your own: it is curated, and edited with the trained model."""
    subject: str = ""
    """What your video shows, such as "dog"."""
    box: str = ""
    """Where it is in the first frame: x0,y0,x1,y1 in the video's pixels. Without it, the middle of the frame."""


class Steps:
    """Runs commands, saying which of how many each is and how long it took."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.begin = total, 0, time.monotonic()

    def skip(self, title: str) -> None:
        """Count a step that has been done before."""
        self.done += 1
        print(f"\n[{self.done}/{self.total}] {title}", flush=True)

    def run(self, title: str, *command: object) -> None:
        """Run `python COMMAND`; a failure ends the demo with the command's own words above it."""
        self.done += 1
        words = [str(word) for word in command]
        print(f"\n[{self.done}/{self.total}] {title}\n$ python {shlex.join(words)}", flush=True)
        begin = time.monotonic()
        if subprocess.run([sys.executable, *words], check=False).returncode:  # noqa: S603 - our own commands
            raise ValueError("the command above failed; what it said is the reason. `make demo` goes on from there")
        now = time.monotonic()
        print(f"    took {now - begin:.0f} s; {now - self.begin:.0f} s since the start", flush=True)


def run_demo(demo: Demo) -> None:
    """Run the demo.

    Raises:
        ValueError: a step failed, or the user's video cannot be used.
    """
    if demo.video:
        check_video(demo)
    out, steps = demo.output, Steps(5 if demo.video is None else 7)
    model = out / "magdiff"
    manifest = out / "toyworld" / "manifest.jsonl"
    drawn = len(manifest.read_bytes().splitlines()) if manifest.is_file() else demo.clips
    if drawn != demo.clips:
        raise ValueError(
            f"{out} holds a demo of {drawn} clips, not {demo.clips}: remove it, or choose another --output"
        )
    # Drawn once: curation tells a clip by its file's time too.
    if manifest.is_file():
        steps.skip(f"{demo.clips} toyworld videos are drawn already")
    else:
        steps.run(
            f"drawing {demo.clips} toyworld videos",
            *("-m", "magdiff_curation.toyworld", "dataset", "--output", manifest.parent),
            *("--num-clips", demo.clips, "--seed", 4, "--width", 128, "--height", 128),
        )
    steps.run(
        "curation on Ray: label, mask and pack them",
        *("pipelines/curate.py", "--config", CONFIGS / "toyworld_curate.yaml"),
        *("--source", manifest, "--output", out / "shards"),
    )
    steps.run(
        "training MagDiff from the zoo's text-to-video base",
        *("-m", "magdiff_model.train", "--config", CONFIGS / "toyworld_train.yaml"),
        *("--shards", out / "shards", "--output", model),
        *(("--steps", demo.train_steps) if demo.train_steps else ()),
    )
    sampling = (
        "--steps",
        20,
        "--guidance-scale",
        1,
        "--image-guidance-scale",
        2,
    )  # more text guidance costs the subject
    if demo.video is None:
        steps.run(
            f"editing and generating {demo.scored} held-out clips before new backgrounds, and scoring them",
            *("-m", "magdiff_eval.run", "toyworld", "--model", model, "--output", out / "scores"),
            *("--num-clips", demo.scored, *sampling),
        )
        row = json.loads(manifest.read_text(encoding="utf-8").splitlines()[0])
        background = "snow" if row["background"] == "sunset" else "sunset"
        steps.run(
            "one edit, as you would type it",
            *("-m", "magdiff_model.edit", "--checkpoint", model, "--output", out / "edit.mp4"),
            *("--video", manifest.parent / row["video"], "--masks", manifest.parent / "truth" / "00000.masks.json"),
            *("--prompt", plain_caption(row["class_name"], row["action"], background), "--frame-stride", 2, *sampling),
        )
        print(closing(demo, time.monotonic() - steps.begin))
    else:
        edit_own_video(demo, steps, model, sampling)


def check_video(demo: Demo) -> None:
    """Raise ValueError where the user's video or what is said of it cannot be used, before anything is done."""
    assert demo.video is not None
    if not demo.subject:
        raise ValueError('say what the video shows: make demo VIDEO=my.mp4 SUBJECT="dog"')
    limits = LimitSettings()
    try:
        info = probe_source(demo.video, limits)
    except ClipRejected as rejected:
        raise ValueError(f"cannot read {demo.video}: {rejected}") from None
    if info.duration_seconds > limits.max_seconds:
        raise ValueError(
            f"{demo.video} lasts {info.duration_seconds:.0f} s: cut it to at most {limits.max_seconds:.0f}"
        )
    if demo.box:
        read_box(demo.box)


def read_box(text: str) -> list[float]:
    """Return the four numbers of a box.

    Raises:
        ValueError: not four numbers.
    """
    try:
        x0, y0, x1, y1 = (float(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"BOX is {text!r}; it must be x0,y0,x1,y1 in the video's pixels, like 40,60,300,400") from None
    return [x0, y0, x1, y1]


def edit_own_video(demo: Demo, steps: Steps, model: Path, sampling: tuple[object, ...]) -> None:
    """Curate the user's video, and edit it to three of the backgrounds that the toy model knows."""
    assert demo.video is not None
    own = demo.output / "own"
    shutil.rmtree(own, ignore_errors=True)  # an earlier video's, or this one's with another box
    info = probe_source(demo.video, LimitSettings())
    box = read_box(demo.box) if demo.box else []
    if not box:
        box = [0.2 * info.width, 0.1 * info.height, 0.8 * info.width, 0.9 * info.height]
        print(
            f"\nThe zoo's detector knows drawings only, so the {demo.subject} is taken to be inside the middle of the "
            f"first frame ({', '.join(f'{side:.0f}' for side in box)}). If it is not: make demo VIDEO=… SUBJECT=… "
            "BOX=x0,y0,x1,y1",
            flush=True,
        )
    caption = f"a {demo.subject}"
    row: dict[str, object] = {"video": str(demo.video.resolve()), "caption": caption, "answer": caption, "box": box}
    seconds = min(info.duration_seconds, 3.0)
    row["end_seconds"] = seconds
    write_atomic(own / "manifest.jsonl", json.dumps(row).encode() + b"\n")
    steps.run(
        f"curation of the first {seconds:.0f} seconds of {demo.video.name}",
        *("pipelines/curate.py", "--config", CONFIGS / "toyworld_curate.yaml", "--filters.min-short-side-px", 64),
        *("--filters.training-view.crop", "none", "--motion.min-motion", 0),  # it is shown, not trained on
        *("--source", own / "manifest.jsonl", "--output", own / "shards"),
    )
    shards = load_shard_list(own / "shards").shards
    if not shards:
        raise ValueError(
            f"curation did not keep {demo.video}; the reason is printed above and in {own}/shards/ledger.parquet. "
            "A tighter BOX=x0,y0,x1,y1 around the subject helps most"
        )
    clip = next(iter(ShardReader(own / "shards" / shards[0])))
    members = clip.to_members()
    write_atomic(own / "clip.mp4", members[VIDEO])
    write_atomic(own / "clip.masks.json", members[MASKS])
    frames = decode(clip.video)
    alone = [subject_image(*pair) for pair in zip(frames, clip.masks, strict=True)]
    write_atomic(own / "subject.mp4", encode(alone, clip.record.frame_rate))
    shown = []
    for name in ("sunset", "snow", "bricks"):
        prompt = f"a {demo.subject} {BACKGROUND_PHRASES[name][0]}"
        steps.run(
            f"editing: {prompt}",
            *("-m", "magdiff_model.edit", "--checkpoint", model, "--video", own / "clip.mp4"),
            *("--masks", own / "clip.masks.json", "--output", own / f"{name}.mp4", "--prompt", prompt, *sampling),
        )
        files = {"source": own / "clip.mp4", "subject": own / "subject.mp4", "result": own / f"{name}.mp4"}
        shown.append(Shown(**files, row={"name": demo.video.name, "task": "edit", "prompt": prompt}))
    write_page(own / "report.html", f"Editing {demo.video.name}", [HONEST], [], shown)
    print(f"\nLook at {own}/report.html, and at {own}/shards/overview.png for the mask.\n{HONEST}")


def closing(demo: Demo, seconds: float) -> str:
    """Return where to look and what to try next."""
    out = demo.output
    return f"""
Done in {seconds / 60:.1f} minutes. Look at
  {out}/scores/report.html      every result beside its source and subject, playing, with the scores
  {out}/shards/overview.png     what curation kept, with its masks
  {out}/edit.mp4                the last edit
What you see is a model of 4 million parameters after minutes of training on 64x64 pixels: it shows that every part
does its work, not what MagDiff looks like at full size.
Next
  make demo VIDEO=my.mp4 SUBJECT="dog"        a clip of your own along the same road
  python pipelines/curate.py --help           curate your own videos
  python -m magdiff_model.train --help        train on them
  python -m magdiff_eval.run davis --help     the paper's editing benchmark"""


def main() -> None:
    try:
        run_demo(tyro.cli(Demo, prog="pipelines/demo.py"))
    except (ValueError, OSError) as error:
        sys.exit(f"demo: {error}")


if __name__ == "__main__":
    main()
