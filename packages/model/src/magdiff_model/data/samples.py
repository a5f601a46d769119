"""A sample by its number: which clip, which frames of it, and what is dropped.

Sample number n of the run is position n mod N of epoch n div N (`order.py`). Its window of frames, prompt drop,
timestep and noise come from its own generator. A clip is read by one range read and checked against the index, and only
the frames that are needed are decoded. Shards that lie elsewhere are read from local copies (`cache.py`); of those,
only indexes are read at the start. What is damaged is refused by name, or, where `max_skipped` allows it, stood for by
the next sample of the epoch.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from magdiff_curation.clips.index import ShardIndex, load_indexes
from magdiff_curation.clips.location import is_remote
from magdiff_curation.clips.shards import ShardReader
from magdiff_model.data.batch import Batch
from magdiff_model.data.cache import default_cache
from magdiff_model.data.clip import OpenClip
from magdiff_model.data.framing import framed_frames, framed_masks
from magdiff_model.data.order import epoch_order, sample_at, sample_generator
from magdiff_model.data.subjects import SubjectSettings, subject_inputs, visible


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which clips and frames are taken, and what is dropped (Supplement B)."""

    num_frames: int = 8
    """Frames a sample."""
    frame_stride: int = 4
    """Frames of the clip from one sampled frame to the next; less where the clip is too short for it."""
    window_starts: int = 0
    """A sample starts at one of so many frames, spread evenly over those where the subject is in sight; 0: at any."""
    crop: Literal["middle", "random"] = "middle"
    """Which square of the frames: the middle one, or any that shows some of the first frame's subject."""
    prompt_drop: float = 0.15
    """Share of samples that see the empty prompt."""
    multi_slot: float = 0.0
    """Share of samples whose every slot shows its own frame's subject, as editing does; in the paper none."""
    caption: Literal["augmented_caption", "caption"] = "augmented_caption"
    """Which of the record's texts trains; the paper's is the caption with the subject's label appended."""
    frame_masks: bool = False
    """Batches hold the subject's mask in every frame."""
    seed: int = 0
    """Order, windows, drops, timesteps and noise."""
    shuffle_window: int = 2000
    """So many clips along the shuffled shards are shuffled together: more mix better, fewer need less of the cache."""
    node_groups: int = 1
    """Pieces of an epoch: a multiple of the nodes (that divides batch_size) has each fetch only its own shards."""
    held_out_clips: int = 0
    """So many clips, those whose keys hash lowest, are kept out of training."""
    max_skipped: int = 0
    """So many damaged samples may be skipped in a run before it stops."""
    trusted_videos: bool = False
    """Decode the videos of shards that curation did not make: only where you know their origin."""
    cache_gigabytes: float = 100.0
    """Limit of the local copies of shards that lie elsewhere, in $MAGDIFF_CACHE."""

    def __post_init__(self) -> None:
        for name in ("num_frames", "frame_stride", "shuffle_window", "node_groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name} is {getattr(self, name)}; it must be at least 1")


class ClipSamples(Dataset[Batch]):
    """Sample number -> a batch of one.

    Args:
        shards: tars, as `find_shards` gives them.
        settings: which frames, and what is dropped.
        subject: how subjects are shown.
        latent_size: of the noise, [C, h, w].
        num_timesteps: of the diffusion.
        held_out: exactly the clips that are kept out of training, instead of the others.

    Raises:
        ValueError: no clips, or all of them held out; of a sample: clips shorter than it, or damaged.
        PermissionError: of a sample: its video is of unknown origin.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        settings: DataSettings,
        subject: SubjectSettings,
        latent_size: tuple[int, int, int],
        num_timesteps: int,
        held_out: bool = False,
    ) -> None:
        self.settings, self.subject = settings, subject
        self.latent_size, self.num_timesteps = latent_size, num_timesteps
        copies = default_cache(settings.cache_gigabytes).open
        indexes = load_indexes(shards)
        self.readers = [
            ShardReader(path, index, copies if is_remote(path) else None)
            for path, index in self.read_from(list(zip(shards, indexes, strict=True)))
        ]
        chosen = _held_out(indexes, settings.held_out_clips) == held_out
        sizes = [len(index.samples) for index in indexes]
        self._shard = np.repeat(np.arange(len(sizes)), sizes)[chosen]
        self._entry = np.concatenate([np.arange(size) for size in (0, *sizes)])[chosen]
        self.shard_sizes = tuple(np.bincount(self._shard, minlength=len(sizes)).tolist())
        if not len(self):
            raise ValueError(
                f"{', '.join(map(str, shards[:3]))} hold {sum(sizes)} clips, of which none is left with "
                f"data.held_out_clips {settings.held_out_clips}; a set's ledger.parquet tells what became of its inputs"
            )

    def __len__(self) -> int:
        return len(self._shard)

    @property
    def node_groups(self) -> int:
        """Pieces of an epoch that nodes serve."""
        return self.settings.node_groups

    def key_of(self, number: int) -> str:
        """Return which clip sample `number` is, without reading it."""
        return self._clip(*divmod(number, len(self)))[1]

    def __getitem__(self, number: int) -> Batch:
        epoch, position = divmod(number, len(self))
        skipped: list[str] = []
        while True:
            reader, key = self._clip(epoch, (position + len(skipped) * self.node_groups) % len(self))
            rng = sample_generator(self.settings.seed, epoch, position)
            try:
                return self.sample(reader, key, rng, skipped)
            except ValueError as error:  # a ShardError too
                if len(skipped) >= self.settings.max_skipped:
                    raise
                skipped.append(f"{key}: {error}")

    def read_from(self, shards: list[tuple[Path, ShardIndex]]) -> list[tuple[Path, ShardIndex]]:
        """Return the tars that samples are read from, one for each of these, with their indexes: here the same."""
        return shards

    def _clip(self, epoch: int, position: int) -> tuple[ShardReader, str]:
        settings = self.settings
        order = epoch_order(self.shard_sizes, settings.seed, epoch, settings.shuffle_window)
        clip = sample_at(order, settings.node_groups, position)
        reader = self.readers[self._shard[clip]]
        return reader, reader.index.samples[self._entry[clip]].key

    def sample(self, reader: ShardReader, key: str, rng: np.random.Generator, skipped: list[str]) -> Batch:
        """Return a batch of one clip.

        Raises:
            ValueError: it is damaged, too short, or shows its subject nowhere.
        """
        settings = self.settings
        taken = OpenClip(reader, key, settings, self.subject.size_px).draw(rng)
        frames, masks = taken.frames, taken.masks
        drawn = self.draw(rng)
        every_slot = drawn.every_slot and (masks is None or bool(visible(masks, self.subject.size_px).all()))
        shown = slice(None) if every_slot else slice(1)
        subject = subject_inputs(frames[shown], None if masks is None else masks[shown], self.subject)
        slots = settings.num_frames if settings.multi_slot else 1  # one shape for the whole batch
        whole = np.ones(frames.shape[:3], bool) if masks is None else masks
        return Batch(
            keys=[taken.key],
            captions=["" if drawn.dropped else taken.caption],
            frames=framed_frames(frames, self.subject.size_px)[None],
            filled=filled_slots(settings.num_frames, every_slot),
            pyramid=subject.pyramid,
            clip_pictures=subject.clip_pictures.expand(slots, -1, -1, -1)[None],
            noise=drawn.noise,
            timesteps=drawn.timesteps,
            masks=framed_masks(whole, self.subject.size_px)[None] if settings.frame_masks else None,
            skipped=skipped,
        )

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Return what of a sample is random beside its frames."""
        every_slot = rng.uniform() < self.settings.multi_slot
        dropped = rng.uniform() < self.settings.prompt_drop
        channels, height, width = self.latent_size
        noise = rng.standard_normal((1, channels, self.settings.num_frames, height, width), dtype=np.float32)
        timesteps = torch.tensor([int(rng.integers(self.num_timesteps))])
        return Drawn(every_slot=every_slot, dropped=dropped, noise=torch.from_numpy(noise), timesteps=timesteps)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What of a sample is random beside its frames."""

    every_slot: bool
    """Each slot is to show its own frame's subject, where all frames show one."""
    dropped: bool
    """The prompt is."""
    noise: Tensor
    """float32 [1, 4, F, h, w]."""
    timesteps: Tensor
    """int64 [1]."""


def filled_slots(num_frames: int, every_slot: bool) -> Tensor:
    """Return which slots show a subject, bool [1, F]: the first, or all."""
    return (torch.arange(num_frames) < (num_frames if every_slot else 1))[None]


def _held_out(indexes: Sequence[ShardIndex], num_clips: int) -> NDArray[np.bool_]:
    """Return which clips are held out, bool [N]; the same content under the same key is one clip."""
    clips = [
        (hashlib.sha256(entry.key.encode()).digest(), entry.sha256) for index in indexes for entry in index.samples
    ]
    lowest = set(heapq.nsmallest(num_clips, set(clips)))
    return np.fromiter((clip in lowest for clip in clips), bool, len(clips))
