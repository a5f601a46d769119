"""Toyworld: subjects before a new background, judged by the frozen oracles, which know the truth.

Each clip is edited and generated to a background that is not its own, its action and class as they were:

- edit: every frame's subject is shown; read are background, action and class, and measured is the error inside the
  subject against the source, beside that of the VAE's round trip and of painting the subject in its mean colour.
- generate: the first frame's subject is shown; read are the same, and whether the colours read in the video are nearer
  to this subject's than to another's, drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_curation.toyworld.backgrounds import BACKGROUNDS
from magdiff_curation.toyworld.captions import plain_caption
from magdiff_curation.toyworld.oracles import ORACLE_SHA256, Oracle, Reading
from magdiff_curation.toyworld.scene import Scene, render, sample_scene
from magdiff_eval.items import Item, Row, Task
from magdiff_eval.judges import ClipJudge
from magdiff_eval.metrics.clip import frame_consistency
from magdiff_eval.metrics.regions import error_inside, mean_colour_error
from magdiff_model.data.framing import framed_frames, framed_masks, unit
from magdiff_model.encoding import decode_latents, encode_frames

SOURCE_PX = 128
CHANCE = 1 / 10
"""Of naming a background, an action or a class at random."""


class Toyworld:
    """The held-out clips of one world.

    Args:
        pipeline: the model; gives frame size and count, CLIP, and the VAE for the round trip's error.
        num_clips: clips 0 to N - 1 of the world.
        seed: the world; training must never have drawn from it.
        tasks: what is made of every clip.
    """

    def __init__(self, pipeline: Any, num_clips: int, seed: int, tasks: tuple[Task, ...]) -> None:
        self.pipeline, self.num_clips, self.seed, self.tasks = pipeline, num_clips, seed, tasks
        self.oracle, self.clip = Oracle(), ClipJudge(pipeline)
        self.protocol = {
            "benchmark": "toyworld",
            "seed": seed,
            "clips": num_clips,
            "tasks": list(tasks),
            "oracle_sha256": ORACLE_SHA256,
            "clip": "the checkpoint's own: not comparable with published numbers",
        }

    def items(self) -> Iterator[Item]:
        """Yield every clip once a task."""
        for index in range(self.num_clips):
            scene = sample_scene(self.seed, index)
            rng = np.random.default_rng([self.seed, index, 6])
            background = str(rng.choice([name for name in BACKGROUNDS if name != scene.background]))
            other = int((index + rng.integers(1, 1000)) % 1000)  # another of the world's first thousand
            prompt = plain_caption(scene.subject.class_name, scene.action, background)
            source, masks = self._draw(scene)
            for task in self.tasks:
                score = partial(
                    self._score, scene=scene, background=background, other=other, source=source, masks=masks, task=task
                )
                yield Item(
                    name=f"{task}-{index:05d}", task=task, prompt=prompt, source=source, masks=masks, score=score
                )

    def _draw(self, scene: Scene) -> tuple[Frames, Masks]:
        return render(scene, height=SOURCE_PX, width=SOURCE_PX, num_frames=self.pipeline.config.num_frames)

    def _score(
        self, video: Frames, *, scene: Scene, background: str, other: int, source: Frames, masks: Masks, task: Task
    ) -> Row:
        reading = self.oracle.read(video)
        row: Row = {
            "background": reading.background == background,
            "action": reading.action == scene.action,
            "class": reading.class_name == scene.subject.class_name,
            "frame_consistency": frame_consistency(self.clip.embed_frames(video)),
        }
        if task == "edit":
            side = video.shape[1]
            truth, inside = framed_frames(source, side).numpy(), framed_masks(masks, side).numpy()
            row["subject_error"] = error_inside(video, truth, inside)
            row["round_trip_error"] = error_inside(self._round_trip(truth), truth, inside)
            row["mean_colour_error"] = mean_colour_error(truth, inside)
        else:
            own = reading.colour_distance(self._read(scene))
            to_other = reading.colour_distance(self._read(sample_scene(self.seed, other)))
            row |= {"colour_distance": own, "other_distance": to_other, "nearer_to_own": own < to_other}
        return row

    def _read(self, scene: Scene) -> Reading:
        return self.oracle.read(self._draw(scene)[0])

    @torch.inference_mode()
    def _round_trip(self, frames: Frames) -> Frames:
        vae = self.pipeline.vae
        pixels = unit(torch.from_numpy(frames)[None].to(vae.device))
        decoded = decode_latents(vae, encode_frames(vae, pixels))[0]
        return ((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()

    def table(self, rows: list[Row]) -> list[tuple[str, list[str], list[list[str]]]]:
        """Return (title, header, lines) of each task's table."""
        tables = []
        for task in self.tasks:
            mine = [row for row in rows if row["task"] == task]
            if not mine:
                continue
            lines = []
            for name in mine[0]:
                if name in ("name", "task", "prompt", "seconds"):
                    continue
                values = [float(row[name]) for row in mine]
                is_share = isinstance(mine[0][name], bool)
                chance = f"{CHANCE:.0%}" if name in ("background", "action", "class") else "50%" if is_share else ""
                shown = f"{np.mean(values):.1%}" if is_share else f"{np.mean(values):.4f}"
                half = 1.96 * np.std(values) / np.sqrt(len(values))
                lines.append([name, shown, f"{half:.1%}" if is_share else f"{half:.4f}", chance])
            tables.append((f"{task}, {len(mine)} clips", ["score", "mean", "± 95%", "by chance"], lines))
        return tables
