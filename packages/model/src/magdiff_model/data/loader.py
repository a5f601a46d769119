"""Shards -> training batches, by position.

Sample number n of the run is position n mod N of epoch n div N (`order.py`). Its window of frames, prompt drop,
timestep and noise come from its own generator. Each clip is read by one range read, checked against the index, and
only the frames that are needed are decoded. Bad shards are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from magdiff_curation.clips.index import SHARD_LIST, load_shard_list
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.clips.video import decode
from magdiff_curation.clips.windows import sample_stride
from magdiff_model.data.framing import framed_frames
from magdiff_model.data.order import epoch_order, sample_generator
from magdiff_model.data.subjects import SubjectSettings, subject_inputs, visible


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which frames of a clip are taken, and what is dropped (Supplement B)."""

    num_frames: int = 8
    """Frames a sample."""
    frame_stride: int = 4
    """Frames of the clip from one sampled frame to the next; less where the clip is too short for it."""
    prompt_drop: float = 0.15
    """Share of samples that see the empty prompt."""
    multi_slot: float = 0.0
    """Share of samples whose every slot shows its own frame's subject, as editing does; in the paper none."""
    caption: Literal["augmented_caption", "caption"] = "augmented_caption"
    """Which of the record's texts trains; the paper's is the caption with the subject's label appended."""
    seed: int = 0
    """Order, windows, drops, timesteps and noise."""


@dataclass(frozen=True)
class Batch:
    """B samples; K subject pictures lie in the B x F slots that `filled` marks, in its order."""

    keys: list[str]
    captions: list[str]
    """Dropped ones are empty."""
    frames: Tensor
    """float32 [B, F, 3, S, S] in [-1, 1]."""
    filled: Tensor
    """bool [B, F]."""
    pyramid: tuple[Tensor, ...]
    """float32 [K, 3, s_i, s_i]."""
    clip_pixels: Tensor
    """The first frame's subject for APA, float32 [B, 1, 3, c, c]; with `multi_slot` one a frame, [B, F, 3, c, c]."""
    noise: Tensor
    """float32 [B, 4, F, h, w]."""
    timesteps: Tensor
    """int64 [B]."""


class ClipSamples(Dataset[Batch]):
    """Sample number -> a batch of one.

    Raises:
        ValueError: no shards, no clips, or clips shorter than a sample.
    """

    def __init__(
        self,
        shards: Path,
        settings: DataSettings,
        subject: SubjectSettings,
        latent_size: tuple[int, int, int],
        num_timesteps: int,
    ) -> None:
        self.settings, self.subject = settings, subject
        self.latent_size, self.num_timesteps = latent_size, num_timesteps
        self.readers = [ShardReader(path) for path in shard_paths(shards)]
        self.clips = [(reader, key) for reader in self.readers for key in reader.keys()]  # noqa: SIM118
        if not self.clips:
            raise ValueError(f"{shards} holds no clips: see its ledger.parquet for what became of the inputs")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> Batch:
        settings = self.settings
        epoch, position = divmod(number, len(self.clips))
        reader, key = self.clips[epoch_order(len(self.clips), settings.seed, epoch)[position]]
        rng = sample_generator(settings.seed, epoch, position)
        clip = reader.read(key)
        in_sight = visible(clip.masks, self.subject.size_px)
        chosen = window(in_sight, settings.num_frames, settings.frame_stride, rng, key)
        frames = decode(clip.video, int(chosen[0]), int(chosen[-1]) + 1)[chosen - chosen[0]]
        every_slot = rng.uniform() < settings.multi_slot and bool(in_sight[chosen].all())
        shown = slice(None) if every_slot else slice(1)
        subject = subject_inputs(frames[shown], clip.masks[chosen][shown], self.subject)
        slots = settings.num_frames if settings.multi_slot else 1  # one shape for the whole batch
        filled = torch.zeros(1, settings.num_frames, dtype=torch.bool)
        filled[0, shown] = True
        dropped = rng.uniform() < settings.prompt_drop
        channels, height, width = self.latent_size
        noise = rng.standard_normal((1, channels, settings.num_frames, height, width), dtype=np.float32)
        return Batch(
            keys=[key],
            captions=["" if dropped else str(getattr(clip.record, settings.caption))],
            frames=framed_frames(frames, self.subject.size_px)[None],
            filled=filled,
            pyramid=subject.pyramid,
            clip_pixels=subject.clip_pixels.expand(slots, -1, -1, -1)[None],
            noise=torch.from_numpy(noise),
            timesteps=torch.tensor([int(rng.integers(self.num_timesteps))]),
        )


def batches(samples: ClipSamples, batch_size: int, first_step: int, last_step: int, workers: int) -> Iterator[Batch]:
    """Yield the batches of steps `first_step` to `last_step` (exclusive), the same for any number of workers."""
    numbers = [list(range(step * batch_size, (step + 1) * batch_size)) for step in range(first_step, last_step)]
    loader = DataLoader(
        samples,
        batch_sampler=numbers,
        num_workers=workers,
        collate_fn=collate,
        multiprocessing_context=_context(workers),
    )
    yield from loader


def collate(parts: Sequence[Batch]) -> Batch:
    """Return batches joined to one."""
    return Batch(
        keys=[key for part in parts for key in part.keys],
        captions=[caption for part in parts for caption in part.captions],
        frames=torch.cat([part.frames for part in parts]),
        filled=torch.cat([part.filled for part in parts]),
        pyramid=tuple(torch.cat(scale) for scale in zip(*(part.pyramid for part in parts), strict=True)),
        clip_pixels=torch.cat([part.clip_pixels for part in parts]),
        noise=torch.cat([part.noise for part in parts]),
        timesteps=torch.cat([part.timesteps for part in parts]),
    )


def window(
    in_sight: NDArray[np.bool_], wanted: int, stride: int, rng: np.random.Generator, key: str
) -> NDArray[np.int64]:
    """Return which frames of a clip a sample takes, int64 [wanted], evenly spaced, from a random one on.

    Args:
        in_sight: where the subject is within the framing, bool [F]; the first frame taken is one of these.
        wanted: how many frames.
        stride: frames from one to the next; less where the clip is too short for it.
        rng: of the start.
        key: the clip's, for errors.

    Raises:
        ValueError: the clip has fewer frames than are wanted, or no start shows the subject.
    """
    num_frames = len(in_sight)
    if num_frames < wanted:
        raise ValueError(f"clip {key} has {num_frames} frames, training takes {wanted}: curate with limits.min_frames")
    stride = sample_stride(num_frames, wanted, stride)
    starts = np.flatnonzero(in_sight[: num_frames - stride * (wanted - 1)])
    if not len(starts):
        raise ValueError(f"clip {key}: its subject is outside the middle square wherever a sample can start")
    return int(rng.choice(starts)) + stride * np.arange(wanted)


def shard_paths(shards: Path) -> list[Path]:
    """Return the tars of a set of shards: a folder with `shards.json`, or one tar.

    Raises:
        ValueError: neither is there.
    """
    if shards.suffix == ".tar":
        return [shards]
    if not (shards / SHARD_LIST).is_file():
        raise ValueError(
            f"{shards} has no {SHARD_LIST}: give a folder that pipelines/curate.py finished, or one .tar with its index"
        )
    return [shards / name for name in load_shard_list(shards).shards]


def _context(workers: int) -> str | None:
    # Forked workers would inherit torch's thread pools in whatever state they are.
    return "spawn" if workers else None
