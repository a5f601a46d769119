"""Toyworld as a benchmark: held-out clips before a background that is not their own, with the truth to score against.

Each clip is edited (every frame's subject is shown) and generated (the first frame's is), its action and class as they
were. The frozen oracles read background, action and class in what is made, and three colours: whether these are nearer
to the subject's own than to those of another clip, drawn at random. The sources are drawn into the run's folder.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magdiff_curation.clips.atomic import canonical_json, sha256_hex
from magdiff_curation.clips.masks import Frames, Mask, Masks
from magdiff_curation.toyworld.backgrounds import BACKGROUNDS
from magdiff_curation.toyworld.captions import plain_caption
from magdiff_curation.toyworld.oracles import HEADS, ORACLE_SHA256, Oracle, Reading
from magdiff_curation.toyworld.scene import Scene, render, sample_scene, with_background
from magdiff_eval.harness.folder import write_pictures
from magdiff_eval.layouts.item import Item, Listing
from magdiff_eval.scoring.extractors import Features
from magdiff_eval.scoring.items import ScoredItem
from magdiff_eval.scoring.metric import LoadedMetric, Scores
from magdiff_eval.scoring.networks import ClipExtractor

SOURCE_PX = 128
_READ = ("class_name", "action", "background")


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What an item's video should show."""

    class_name: str
    action: str
    background: str
    looks: tuple[float, ...]
    """The subject's three colours, 9 numbers from 0 to 1, as the oracle reads them in its own clip."""
    other_looks: tuple[float, ...]
    """Another subject's."""


@dataclass(frozen=True, kw_only=True)
class Spoilt:
    """How sources are made harder before they are shown (Supplement F names low contrast and noise)."""

    contrast: float = 1.0
    """Pixels' distance from the frame's mean is multiplied by this."""
    noise: float = 0.0
    """Standard deviation of the noise that is added to pixels, of 255."""
    subject_size: float = 1.0
    """The subject is drawn at this times its size."""
    mask_error_px: int = 0
    """Masks are grown by so many pixels of 128, or shrunk."""

    def __post_init__(self) -> None:
        if not 0 < self.contrast <= 1 or self.noise < 0 or not 0 < self.subject_size <= 1:
            raise ValueError(f"{self}: contrast and subject size are from 0 to 1, noise is 0 or more")

    def scene(self, scene: Scene) -> Scene:
        """Return a scene with its subject at its size."""
        subject = replace(scene.subject, scale=scene.subject.scale * self.subject_size)
        return scene if self.subject_size == 1 else replace(scene, subject=subject)

    def shown(self, frames: Frames, masks: Masks, seed: int) -> tuple[Frames, Masks]:
        """Return frames and masks as they are shown."""
        pixels = frames.astype(np.float64)
        if self.contrast < 1:
            mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
            pixels = mean + (pixels - mean) * self.contrast
        if self.noise:
            pixels = pixels + np.random.default_rng(seed).normal(0, self.noise, pixels.shape)
        return pixels.round().clip(0, 255).astype(np.uint8), np.stack([self._mask(mask) for mask in masks])

    def _mask(self, mask: Mask) -> Mask:
        if not self.mask_error_px:
            return mask
        side = 2 * abs(self.mask_error_px) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        change = cv2.dilate if self.mask_error_px > 0 else cv2.erode
        return np.asarray(change(mask.astype(np.uint8), disc)) > 0


class Toyworld:
    """The held-out clips of one world.

    Args:
        folder: is drawn into.
        num_clips: clips 0 to N - 1 of the world.
        seed: the world; training must never have drawn from it.
        tasks: what is made of each clip.
        num_frames: frames of a video.
        spoilt: how sources are made harder.
    """

    def __init__(
        self,
        folder: Path,
        num_clips: int,
        seed: int,
        tasks: tuple[str, ...],
        num_frames: int,
        spoilt: Spoilt = Spoilt(),
    ) -> None:
        if num_clips < 1 or not tasks or set(tasks) - {"edit", "generate"}:
            raise ValueError(f"{num_clips} clips and tasks {list(tasks)}: need one or more of each, edit or generate")
        drawn = sha256_hex(canonical_json([num_clips, seed, num_frames, asdict(spoilt)]))[:12]
        self.folder = folder / drawn  # another world, or a harder one, is drawn elsewhere
        self.num_clips, self.seed, self.tasks = num_clips, seed, tasks
        self.num_frames, self.oracle, self.spoilt = num_frames, Oracle(), spoilt
        self.truths: dict[str, Truth] = {}
        self.reference = self.folder / "true"
        """Every clip as it should have become: the set that distances are to."""

    def listing(self) -> Listing:
        """Draw what is not drawn yet, and return the items."""
        items = list[Item]()
        for index in range(self.num_clips):
            scene = self.spoilt.scene(sample_scene(self.seed, index))
            rng = np.random.default_rng([self.seed, index, 6])
            background = str(rng.choice([name for name in BACKGROUNDS if name != scene.background]))
            other = sample_scene(self.seed, int((index + rng.integers(1, 1000)) % 1000))
            self._draw(f"{index:05d}", scene, background)
            subject = scene.subject
            prompt = plain_caption(subject.class_name, scene.action, background)
            looks = [tuple(float(x) for x in self._read(one).looks[:9]) for one in (scene, other)]
            for task in self.tasks:
                name = f"{task}-{index:05d}"
                self.truths[name] = Truth(
                    class_name=subject.class_name,
                    action=scene.action,
                    background=background,
                    looks=looks[0],
                    other_looks=looks[1],
                )
                frames = self.folder / "frames" / f"{index:05d}"
                items.append(
                    Item(
                        name=name,
                        group=task,
                        task="edit" if task == "edit" else "generate",
                        prompt=prompt,
                        clip_prompt=prompt,
                        source=frames if task == "edit" else frames / "00000.png",
                        masks=self.folder / "masks" / f"{index:05d}",
                        label=subject.class_name,
                        seed=len(items),
                    )
                )
        truths = sha256_hex(canonical_json({name: asdict(truth) for name, truth in self.truths.items()}))
        stamp = {
            "benchmark": "toyworld",
            "seed": self.seed,
            "clips": self.num_clips,
            "tasks": list(self.tasks),
            "frames": self.num_frames,
            "oracle_sha256": ORACLE_SHA256,
            "truths_sha256": truths,
            "spoilt": asdict(self.spoilt),
        }
        return Listing(items=tuple(items), faults=(), notes=(), stamp=stamp)

    def metric(self) -> LoadedMetric:
        """Return `oracle`: whether background, action and class are read right, and how near the colours are."""

        def read(clips: Frames) -> Tensor:
            readings = [self.oracle.read(clip) for clip in clips]
            return torch.tensor(np.array([_numbers(reading) for reading in readings]))

        extractor = ClipExtractor(
            name="oracle",
            stamp={"oracle_sha256": ORACLE_SHA256, "frames": self.num_frames},
            batch_size=64,
            clip_frames=self.num_frames,
            indices=self._indices,
            inputs=read,
            network=lambda numbers: numbers,
            device="cpu",
        )
        return LoadedMetric(extractor=extractor, scores=self._scores)

    def _indices(self, num_frames: int) -> NDArray[np.int64]:
        if num_frames != self.num_frames:
            raise ValueError(f"a video has {num_frames} frames, the benchmark's have {self.num_frames}")
        return np.arange(num_frames)[None]

    def _scores(self, features: Features, item: ScoredItem) -> Scores:
        truth, numbers = self.truths[item.name], features[0]
        named = [HEADS[head][int(number)] for head, number in zip(_READ, numbers, strict=False)]
        wanted = (truth.class_name, truth.action, truth.background)
        right = {
            name: float(read == true) for name, read, true in zip(("class", *_READ[1:]), named, wanted, strict=True)
        }
        own, other = (_distance(numbers[len(_READ) :], looks) for looks in (truth.looks, truth.other_looks))
        return {**right, "colour-distance": own, "nearer-to-own": float(own < other)}

    def _draw(self, name: str, scene: Scene, background: str) -> None:
        if (self.reference / name).is_dir():
            return
        size = {"height": SOURCE_PX, "width": SOURCE_PX, "num_frames": self.num_frames}
        frames, masks = self.spoilt.shown(*render(scene, **size), seed=scene.index)
        write_pictures(self.folder / "frames" / name, frames)
        write_pictures(
            self.folder / "masks" / name, np.where(masks, np.uint8(255), np.uint8(0))[..., None].repeat(3, 3)
        )
        write_pictures(self.reference / name, render(with_background(scene, background), **size)[0])

    def _read(self, scene: Scene) -> Reading:
        return self.oracle.read(render(scene, height=SOURCE_PX, width=SOURCE_PX, num_frames=self.num_frames)[0])


def _numbers(reading: Reading) -> list[float]:
    return [float(HEADS[head].index(getattr(reading, head))) for head in _READ] + [float(x) for x in reading.looks[:9]]


def _distance(a: NDArray[np.floating], b: tuple[float, ...]) -> float:
    return float(np.sqrt(np.mean((np.asarray(a, np.float64) - b) ** 2)))
