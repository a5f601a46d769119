"""Encode the clips of shards once, so that training need not; `pipelines/encode_latents.py` does it on a cluster.

A shard is a unit of work: its latents appear, whole, under a name that says of which clips and by which encoders
(`data/latents.py`), so whoever finds them there has nothing left to do. Clips are decoded in other processes meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from magdiff_curation.clips.atomic import canonical_json, write_atomic
from magdiff_curation.clips.index import ShardError, load_index
from magdiff_curation.clips.location import is_remote, is_web
from magdiff_curation.clips.shards import ShardReader, pack_sample, write_shard
from magdiff_model.checkpoints import load_pipeline
from magdiff_model.data.cache import default_cache
from magdiff_model.data.clip import OpenClip
from magdiff_model.data.framing import framed_frames, unit
from magdiff_model.data.latents import COMMON, MADE_BY, MEMBER, PROBLEM, Kept, latent_path, made_by, pack
from magdiff_model.data.samples import DataSettings
from magdiff_model.data.subjects import SubjectSettings, clip_pixels, subject_inputs, visible
from magdiff_model.encoding import encode_frames, encode_images, encode_text
from magdiff_model.training.settings import TrainSettings
from magdiff_model.training.setup import with_alignments


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The N samples of a clip, as bytes: `slots` pictures each of the subject, one or F."""

    key: str
    caption: str = ""
    frames: Tensor | None = None
    """uint8 [N, F, S, S, 3]."""
    pyramid: tuple[Tensor, ...] = ()
    """uint8 [N, slots, s_i, s_i, 4]."""
    clip_pictures: Tensor | None = None
    """uint8 [N, slots, c, c, 4]."""
    every_slot: Tensor | None = None
    """Whether all frames show the subject, bool [N]; else its pictures after the first are blank."""
    problem: str = ""
    """Why the clip cannot be read; then the rest is empty."""


class ClipEncoder:
    """The frozen encoders of a training run.

    Args:
        settings: the run's; of its latents only how they are kept counts, fp32 by default.
        device: where they compute, in fp32.

    Raises:
        ValueError: the base is not there, or settings that do not go with latents.
    """

    def __init__(self, settings: TrainSettings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.kept: Kept = "fp16" if settings.latents == "fp16" else "fp32"
        self.pipeline = with_alignments(load_pipeline(settings.base), settings)
        self.subject: SubjectSettings = self.pipeline.subject_settings()
        self.made = made_by(Path(settings.base), self.kept, settings.data, self.subject)
        for part in (self.pipeline.vae, self.pipeline.text_encoder, self.pipeline.image_encoder):
            part.to(device)
        self._with_common: set[Path] = set()

    def path(self, shard: Path) -> Path:
        """Return where a tar's latents lie, or will.

        Raises:
            ValueError: the tar lies on a web server, which takes none.
        """
        if is_web(shard):
            raise ValueError(f"{shard}: a web server takes no latents: encode where the shards can be written beside")
        return latent_path(shard, self.made)

    def is_done(self, shard: Path) -> bool:
        """Return whether a tar's latents are there."""
        try:
            return len(load_index(self.path(shard)).samples) == len(load_index(shard).samples)
        except ShardError:
            return False

    def _write_common(self, folder: Path) -> None:
        """Write what all clips share, and what made it."""
        with torch.no_grad():
            sizes = self.subject.sizes_px()
            blank = {
                f"blank.{scale}": encode_frames(self.pipeline.vae, torch.zeros(1, 1, 3, size, size, device=self.device))
                for scale, size in enumerate(sizes)
            }
            tensors = {name: value[0, :, 0] for name, value in blank.items()} | {"text": self._text("")}
        write_atomic(folder / COMMON, pack(tensors, self.kept))
        write_atomic(folder / MADE_BY, canonical_json(self.made))

    def write(self, shard: Path) -> list[str]:
        """Encode a tar's clips, and return what is wrong with those that cannot be, each "key: reason".

        Raises:
            OSError: what is written to is full or gone.
        """
        path, problems = self.path(shard), list[str]()
        if path.parent not in self._with_common:
            self._write_common(path.parent)
            self._with_common.add(path.parent)
        write_shard(path, self._packed(shard, problems))
        return problems

    def _packed(self, shard: Path, problems: list[str]) -> Iterator[tuple[str, bytes]]:
        clips = Clips(shard, self.settings.data, self.subject)
        workers = self.settings.workers
        loader: DataLoader[Windows] = DataLoader(
            clips, batch_size=None, num_workers=workers, multiprocessing_context="spawn" if workers else None
        )
        for windows in loader:
            if windows.problem:
                problems.append(f"{windows.key}: {windows.problem}")
                members = {PROBLEM: windows.problem.encode()}
            else:
                members = {MEMBER: pack(self.encode(windows), self.kept)}
            yield windows.key, pack_sample(windows.key, members)

    @torch.no_grad()
    def encode(self, windows: Windows) -> dict[str, Tensor]:
        """Return what `data/latents.py` keeps of a clip."""
        pipeline, device = self.pipeline, self.device
        assert windows.frames is not None
        assert windows.clip_pictures is not None
        assert windows.every_slot is not None
        latents = encode_frames(pipeline.vae, unit(windows.frames.to(device)))
        states = encode_images(pipeline.image_encoder, clip_pixels(windows.clip_pictures.to(device), self.subject))
        pyramid = {
            f"pyramid.{scale}": encode_frames(pipeline.vae, unit(pictures.to(device))).transpose(1, 2)
            for scale, pictures in enumerate(windows.pyramid)
        }
        text = self._text(windows.caption)
        return {"latents": latents, "clip_states": states, "text": text, "every_slot": windows.every_slot, **pyramid}

    def clip_bytes(self) -> int:
        """Return about how many bytes a clip's latents take, where it has all its samples."""
        data, encoder = self.settings.data, self.pipeline.image_encoder.config
        slots = data.num_frames if data.multi_slot else 1
        channels, height, width = self.pipeline.latent_size()
        sides = [size // (self.subject.size_px // height) for size in self.subject.sizes_px()]
        latents = channels * (data.num_frames * height * width + slots * sum(side * side for side in sides))
        states = slots * ((encoder.image_size // encoder.patch_size) ** 2 + 1) * encoder.hidden_size
        words = self.pipeline.text_encoder.config
        text = words.max_position_embeddings * words.hidden_size
        return (data.window_starts * (latents + states) + text) * (2 if self.kept == "fp16" else 4)

    def _text(self, prompt: str) -> Tensor:
        return encode_text(self.pipeline.tokenizer, self.pipeline.text_encoder, [prompt])[0]


class Clips(Dataset[Windows]):
    """The clips of a tar, each with the samples that are kept of it."""

    def __init__(self, shard: Path, settings: DataSettings, subject: SubjectSettings) -> None:
        self.settings, self.subject = settings, subject
        copies = default_cache(settings.cache_gigabytes).open if is_remote(shard) else None
        self.reader = ShardReader(shard, None, copies)
        self.keys = self.reader.keys()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, number: int) -> Windows:
        key = self.keys[number]
        try:
            return self._windows(OpenClip(self.reader, key, self.settings, self.subject.size_px))
        except ValueError as error:
            return Windows(key=key, problem=str(error))

    def _windows(self, clip: OpenClip) -> Windows:
        settings, size_px = self.settings, self.subject.size_px
        frames, subjects, every_slot = [], [], []
        for start in clip.few_starts().tolist():
            taken = clip.take(start + clip.starts.stride * np.arange(settings.num_frames))
            masks = taken.masks
            every = settings.multi_slot > 0 and (masks is None or bool(visible(masks, size_px).all()))
            shown = slice(None) if every else slice(1)
            subjects.append(subject_inputs(taken.frames[shown], None if masks is None else masks[shown], self.subject))
            frames.append(framed_frames(taken.frames, size_px))
            every_slot.append(every)
        slots = settings.num_frames if settings.multi_slot else 1
        scales = zip(*(subject.pyramid for subject in subjects), strict=True)
        return Windows(
            key=clip.key,
            caption=clip.caption,
            frames=torch.stack(frames),
            pyramid=tuple(_in_slots(scale, slots) for scale in scales),
            clip_pictures=_in_slots([subject.clip_pictures for subject in subjects], slots),
            every_slot=torch.tensor(every_slot),
        )


def _in_slots(pictures: Any, slots: int) -> Tensor:
    """Return pictures [1 or slots, s, s, 4] of N samples, [N, slots, s, s, 4]."""
    filled = pictures[0].new_zeros(len(pictures), slots, *pictures[0].shape[1:])
    for place, some in zip(filled, pictures, strict=True):
        place[: len(some)] = some
    return filled
