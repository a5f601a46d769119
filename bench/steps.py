"""Time training steps of the toyworld preset: from shards, from latents, and on batches held in memory, in turns.

    python bench/steps.py

Clips are as the demo has them, 16 frames of 128 px, drawn for it. Every kind has a trainer of its own and takes the
same samples; a turn is some steps of one kind, and the order goes forth and back. What a batch in memory costs is
encoding it and the step itself: no loader can be faster than that. Latents leave the step alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from magdiff_curation.clips.atomic import sha256_hex
from magdiff_curation.clips.index import ShardList, save_shard_list
from magdiff_curation.clips.record import Clip, ClipRecord
from magdiff_curation.clips.shards import pack_sample, write_shard
from magdiff_curation.clips.video import encode
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_model.checkpoints import load_pipeline
from magdiff_model.config import parse
from magdiff_model.data.batch import Batch, LatentBatch
from magdiff_model.data.latents import LatentSamples
from magdiff_model.data.loader import batches
from magdiff_model.data.samples import ClipSamples
from magdiff_model.data.shards import find_shards
from magdiff_model.encode_clips import ClipEncoder
from magdiff_model.training.distributed import Ranks, join
from magdiff_model.training.settings import TrainSettings
from magdiff_model.training.setup import with_alignments
from magdiff_model.training.trainer import Trainer

REPOSITORY = Path(__file__).resolve().parents[1]


def draw(folder: Path, count: int) -> None:
    packed = []
    for number in range(count):
        frames, masks = render(sample_scene(50_000_017, number), height=128, width=128, num_frames=16)
        record = ClipRecord(
            key=f"clip{number:03d}",
            caption="a cat bounces in a forest",
            augmented_caption="a cat bounces in a forest, a cat",
            label="cat",
            category="object",
            width=128,
            height=128,
            num_frames=16,
            frame_rate=8.0,
            scores={},
            provenance={},
        )
        clip = Clip(record=record, video=encode(frames, 8), masks=masks)
        packed.append((record.key, pack_sample(record.key, clip.to_members())))
    index = write_shard(folder / "clips-000000.tar", packed)
    digest = sha256_hex(index.to_json())
    save_shard_list(
        folder, ShardList(shards=(index.shard,), index_sha256=(digest,), num_samples=(count,), settings_sha256="")
    )


def make(settings: TrainSettings, ranks: Ranks) -> Trainer:
    torch.manual_seed(0)
    trainer = Trainer(with_alignments(load_pipeline(settings.base), settings), settings, ranks)
    trainer.unet.train()
    return trainer


def take(trainer: Trainer, stream: Iterator[Batch | LatentBatch], count: int) -> float:
    """Take steps, and return how many a second."""
    begin = time.perf_counter()
    for _ in range(count):
        torch.manual_seed(len(trainer.losses))
        trainer.step([trainer.encode(next(stream))])
    return count / (time.perf_counter() - begin)


def main() -> None:
    """Time and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clips", type=int, default=64)
    options.add_argument("--turns", type=int, default=6)
    options.add_argument("--steps", type=int, default=8, help="steps a turn")
    options.add_argument("--workers", type=int, default=0, help="as the preset has it")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, join("cpu") as ranks:
        draw(Path(folder), chosen.clips)
        preset = REPOSITORY / "pipelines" / "configs" / "toyworld_train.yaml"
        arguments = ["--config", preset, "--shards", folder, "--base", REPOSITORY / "zoo" / "toyworld"]
        settings = parse(TrainSettings, [*map(str, arguments), "--data.window-starts", "4"], "steps")
        settings = dataclasses.replace(settings, latents="fp32")
        encoder = ClipEncoder(settings, torch.device("cpu"))
        shards = find_shards(settings.shards)
        begin = time.perf_counter()
        for shard in shards:
            encoder.write(shard)
        print(f"{chosen.clips / (time.perf_counter() - begin):.1f} clips a second encoded, 4 samples each")
        pipeline = encoder.pipeline
        read = (settings.data, encoder.subject, pipeline.latent_size(), pipeline.scheduler.config.num_train_timesteps)
        samples = {"shards": ClipSamples(shards, *read), "latents": LatentSamples(shards, *read, made=encoder.made)}
        streams: dict[str, Iterator[Batch | LatentBatch]] = {
            name: batches(some, settings.batch_size, 0, 10**6, chosen.workers) for name, some in samples.items()
        }
        streams["memory"] = iter(
            list(batches(samples["shards"], settings.batch_size, 0, 2 + chosen.turns * chosen.steps, 0))
        )
        trainers = {name: make(settings, ranks) for name in ("memory", "shards", "latents")}
        rates: dict[str, list[float]] = {name: [] for name in trainers}
        for name in trainers:
            take(trainers[name], streams[name], 2)
        for turn in range(chosen.turns):
            for name in list(trainers) if turn % 2 else reversed(trainers):
                rates[name].append(take(trainers[name], streams[name], chosen.steps))
        pairs = list(zip(trainers["shards"].losses, trainers["latents"].losses, strict=True))
        worst = max(abs(raw - kept) / raw for raw, kept in pairs)
        print(f"losses from latents differ by at most {worst:.1e} of themselves over {len(pairs)} steps")
        base = statistics.median(rates["shards"])
        for name, values in rates.items():
            print(f"{name:8} {statistics.median(values):6.2f} steps/s, {statistics.median(values) / base:.2f} x shards")


if __name__ == "__main__":
    main()
