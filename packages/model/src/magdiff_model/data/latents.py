"""What the frozen encoders make of clips, kept beside their shards, and samples read from there.

    my/shards/clips-000000.tar
    my/shards/latents-<encoders>/clips-000000-<content>.tar   its clips, encoded, with an index as every shard has
    my/shards/latents-<encoders>/common.safetensors           the empty prompt, and the masked picture of empty slots
    my/shards/latents-<encoders>/made_by.json                 what `encoders` is the hash of

`encoders` is a hash of the encoders' weights and of every setting that shapes what they see, `content` one of the
shard's index: a file that is there under its name is right. Of each clip `data.window_starts` samples are kept, so a
run from latents takes what a run from the clips with that setting takes: the same frames, drops, timesteps and noise.
A clip that cannot be encoded is kept as the error that says why, and met as one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from magdiff_curation.clips.atomic import canonical_json, read_many, sha256_hex, sha256_of_file
from magdiff_curation.clips.index import ShardError, ShardIndex, index_path, load_indexes
from magdiff_curation.clips.shards import ShardReader
from magdiff_model.data.batch import LatentBatch
from magdiff_model.data.samples import ClipSamples, DataSettings, filled_slots
from magdiff_model.data.subjects import SubjectSettings

Kept = Literal["fp32", "fp16"]
MEMBER, PROBLEM = "latents.safetensors", "problem.txt"
COMMON, MADE_BY = "common.safetensors", "made_by.json"
ENCODERS = ("vae", "text_encoder", "tokenizer", "image_encoder")


def made_by(base: Path, kept: Kept, settings: DataSettings, subject: SubjectSettings) -> dict[str, Any]:
    """Return what shapes the latents of clips: the encoders' files by hash, and settings.

    Raises:
        ValueError: settings that no finite number of samples a clip serves.
    """
    if not settings.window_starts or settings.crop != "middle":
        raise ValueError(
            f"latents keep a fixed number of samples a clip: set data.window_starts (now {settings.window_starts}; 4, "
            f"say) and leave data.crop at middle (now {settings.crop})"
        )
    files = {
        f"{part}/{path.name}": sha256_of_file(path)
        for part in ENCODERS
        for path in sorted((base / part).iterdir())
        if path.is_file()
    }
    names = ("num_frames", "frame_stride", "window_starts", "caption")
    shaping = {name: getattr(settings, name) for name in names} | {"every_slot": settings.multi_slot > 0}
    return {"encoders": files, "kept": kept, "data": shaping, "subject": dataclasses.asdict(subject)}


def latent_path(shard: Path, made: Mapping[str, Any]) -> Path:
    """Return where the latents of a tar lie; its index is read for it."""
    digest = sha256_hex(canonical_json(made))[:12]
    content = sha256_hex(read_many([index_path(shard)])[0])[:12]
    return shard.parent / f"latents-{digest}" / f"{shard.name.removesuffix('.tar')}-{content}.tar"


class LatentSamples(ClipSamples):
    """Sample number -> a batch of one encoded clip; arguments and errors as `ClipSamples` has them.

    Args:
        shards: the clips' tars, beside which the latents lie.
        settings: as for the clips.
        subject: as for the clips.
        latent_size: as for the clips.
        num_timesteps: as for the clips.
        made: what `made_by` says.

    Raises:
        ValueError: a tar has no such latents.
    """

    def __init__(
        self,
        shards: list[Path],
        settings: DataSettings,
        subject: SubjectSettings,
        latent_size: tuple[int, int, int],
        num_timesteps: int,
        made: Mapping[str, Any],
    ) -> None:
        self._made = made
        super().__init__(shards, settings, subject, latent_size, num_timesteps)

    def read_from(self, shards: list[tuple[Path, ShardIndex]]) -> list[tuple[Path, ShardIndex]]:
        paths = [latent_path(shard, self._made) for shard, _ in shards]
        try:
            indexes = load_indexes(paths)
            common = dict(zip(paths, read_many([path.parent / COMMON for path in paths]), strict=True))
        except (ShardError, FileNotFoundError) as error:
            raise ValueError(
                f"{error}: encode the clips first, with pipelines/encode_latents.py and the same --config, --shards, "
                "--base and --data settings"
            ) from error
        self._common = {path: load(content) for path, content in common.items()}
        return list(zip(paths, indexes, strict=True))

    def sample(self, reader: ShardReader, key: str, rng: np.random.Generator, skipped: list[str]) -> Any:
        members = reader.members(key)
        if PROBLEM in members:
            raise ValueError(members[PROBLEM].decode())
        common, encoded = self._common[reader.path], load(members[MEMBER])
        start = int(rng.choice(len(encoded["latents"])))
        drawn = self.draw(rng)
        every_slot = drawn.every_slot and bool(encoded["every_slot"][start])
        slots = slice(None) if every_slot else slice(1)
        states = encoded["clip_states"][start]
        if self.settings.multi_slot:
            states = states if every_slot else states[:1].expand(self.settings.num_frames, -1, -1)
        scales = range(len(self.subject.ratios))
        return LatentBatch(
            keys=[key],
            latents=encoded["latents"][start][None].float(),
            filled=filled_slots(self.settings.num_frames, every_slot),
            pyramid=tuple(encoded[f"pyramid.{scale}"][start][slots].float() for scale in scales),
            clip_states=states[None].float(),
            text=(common["text"] if drawn.dropped else encoded["text"])[None].float(),
            blank=tuple(common[f"blank.{scale}"][None].float() for scale in scales),
            noise=drawn.noise,
            timesteps=drawn.timesteps,
            skipped=skipped,
        )


def pack(tensors: Mapping[str, Tensor], kept: Kept) -> bytes:
    """Return tensors as safetensors, floats in the precision that is kept."""
    dtype = torch.float16 if kept == "fp16" else torch.float32
    return save(
        {
            name: (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu()
            for name, value in tensors.items()
        }
    )
