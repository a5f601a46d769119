"""Time the loader against a bare PyAV loop over the same frames, in equal numbers of processes, in turns in one run.

    python bench/loader.py                    toyworld clips, drawn for it
    python bench/loader.py --video V [V ...]  clips cut from videos of your own, each with a disc as its subject

Clips have 64 frames of 512x288 px, encoded as curation does; a sample takes 8 at stride 4. The bare loop has the files
in memory and knows which frames: it seeks, decodes up to the last one, and makes an RGB array of each of the 8, as
fast as PyAV does. The loader reads the same clips from their shard, checks them, decodes masks, chooses the frames, and
makes a training batch: frames, HFA's and CLIP's pictures, noise. Its share of the bare loop's rate is printed, and its
share of what that loop does when it resizes too: the 8 frames, and the first one to HFA's three sizes and CLIP's.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter

from magdiff_curation.clips.atomic import sha256_hex
from magdiff_curation.clips.index import ShardList, save_shard_list
from magdiff_curation.clips.masks import Frames, Masks
from magdiff_curation.clips.record import Clip, ClipRecord
from magdiff_curation.clips.shards import pack_sample, write_shard
from magdiff_curation.clips.video import encode
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_model.data.clip import OpenClip
from magdiff_model.data.framing import framed_frames
from magdiff_model.data.loader import batches
from magdiff_model.data.order import epoch_order, sample_generator
from magdiff_model.data.samples import ClipSamples, DataSettings
from magdiff_model.data.shards import find_shards
from magdiff_model.data.subjects import SubjectSettings, subject_inputs

HEIGHT, WIDTH, NUM_FRAMES, BATCH = 288, 512, 64, 4
WARM_UP = 6
"""Batches; what workers have made beforehand is among them."""
_VIDEOS: list[bytes] = []
Work = Callable[[tuple[int, list[int]]], int]


def toyworld(count: int) -> Iterator[tuple[Frames, Masks]]:
    for number in range(count):
        yield render(sample_scene(50_000_017, number), height=HEIGHT, width=WIDTH, num_frames=NUM_FRAMES)


def footage(paths: list[Path], count: int) -> Iterator[tuple[Frames, Masks]]:
    """Yield every whole stretch of 64 frames, scaled to fill 512x288 px."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    disc = (rows - HEIGHT / 2) ** 2 + (columns - WIDTH / 2) ** 2 < (HEIGHT / 4) ** 2
    for path in paths:
        with av.open(str(path)) as container:
            images = [
                frame.to_ndarray(format="rgb24", width=WIDTH, height=HEIGHT) for frame in container.decode(video=0)
            ]
        for start in range(0, len(images) - NUM_FRAMES + 1, NUM_FRAMES)[:count]:
            yield np.stack(images[start : start + NUM_FRAMES]), np.repeat(disc[None], NUM_FRAMES, axis=0)


def write(folder: Path, scenes: Iterator[tuple[Frames, Masks]]) -> None:
    clips = []
    for number, (frames, masks) in enumerate(scenes):
        record = ClipRecord(
            key=f"clip{number:03d}",
            caption="a caption",
            augmented_caption="a caption, a label",
            label="a label",
            category="object",
            width=WIDTH,
            height=HEIGHT,
            num_frames=NUM_FRAMES,
            frame_rate=24.0,
            scores={},
            provenance={},
        )
        clips.append(Clip(record=record, video=encode(frames, 24), masks=masks))
    packed = [(clip.record.key, pack_sample(clip.record.key, clip.to_members())) for clip in clips]
    index = write_shard(folder / "clips-000000.tar", packed)
    digest = sha256_hex(index.to_json())
    listing = ShardList(shards=(index.shard,), index_sha256=(digest,), num_samples=(len(clips),), settings_sha256="")
    save_shard_list(folder, listing)
    megabits = statistics.mean(8 * len(clip.video) for clip in clips) / NUM_FRAMES * 24 / 1e6
    print(f"{len(clips)} clips of {NUM_FRAMES} frames, {WIDTH}x{HEIGHT} px, {megabits:.2f} Mbit a second of video")


def chosen_frames(samples: ClipSamples, count: int) -> list[tuple[int, list[int]]]:
    """Return for each sample its clip's number and which frames of it the loader takes."""
    chosen = []
    for number in range(WARM_UP * BATCH, WARM_UP * BATCH + count):
        epoch, position = divmod(number, len(samples))
        clip = int(epoch_order(samples.shard_sizes, samples.settings.seed, epoch, 10**9)[position])
        rng = sample_generator(samples.settings.seed, epoch, position)
        opened = OpenClip(samples.readers[0], samples.key_of(number), samples.settings, samples.subject.size_px)
        chosen.append((clip, list(opened.draw(rng).numbers)))
    return chosen


def bare(job: tuple[int, list[int]]) -> list[np.ndarray]:
    """Decode the frames of one sample."""
    clip, numbers = job
    wanted, images, converter = set(numbers), [], VideoReformatter()
    with av.open(io.BytesIO(_VIDEOS[clip]), "r", format="mov") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base
        step = Fraction(1, 24) / stream.time_base
        container.seek(int(numbers[0] * step), stream=stream)
        for frame in container.decode(stream):
            number = round((frame.pts or 0) / step)
            if number in wanted:
                images.append(converter.reformat(frame, format="rgb24", threads=1).to_ndarray())
            if number >= numbers[-1]:
                break
    return images


def bare_count(job: tuple[int, list[int]]) -> int:
    return len(bare(job))


def resized_count(job: tuple[int, list[int]]) -> int:
    frames = np.stack(bare(job))
    subject_inputs(frames[:1], None, SubjectSettings())
    return len(framed_frames(frames, SubjectSettings().size_px))


def remember(videos: list[bytes]) -> None:
    torch.set_num_threads(1)
    _VIDEOS.extend(videos)


def time_bare(work: Work, jobs: list[tuple[int, list[int]]], pool: multiprocessing.pool.Pool | None) -> float:
    begin = time.perf_counter()
    decoded = pool.map(work, jobs, chunksize=BATCH) if pool else list(map(work, jobs))
    assert set(decoded) == {8}
    return len(jobs) / (time.perf_counter() - begin)


def time_loader(stream: Generator[object, None, None], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count // BATCH):
        next(stream)
    return count / (time.perf_counter() - begin)


def main() -> None:
    """Time and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--video", type=Path, nargs="+", help="videos to cut clips from")
    options.add_argument("--clips", type=int, default=16, help="clips to draw, or to cut from each video at most")
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--samples", type=int, default=96, help="samples a turn")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), footage(chosen.video, chosen.clips) if chosen.video else toyworld(chosen.clips))
        samples = ClipSamples(find_shards([folder]), DataSettings(), SubjectSettings(), (4, 32, 32), 1000)
        jobs = chosen_frames(samples, chosen.samples)
        videos = [samples.readers[0].read(key).video for key in samples.readers[0].keys()]  # noqa: SIM118
        remember(videos)
        for workers in (0, 2):
            context = multiprocessing.get_context("spawn")
            pool = context.Pool(workers, remember, (videos,)) if workers else None
            rates: dict[str, list[float]] = {"bare": [], "resized": [], "loader": []}
            # Workers go on while they are not asked: each turn has its own.
            for _ in range(chosen.turns + 1):
                rates["bare"].append(time_bare(bare_count, jobs, pool))
                rates["resized"].append(time_bare(resized_count, jobs, pool))
                stream = batches(samples, BATCH, 0, 10**6, workers)
                time_loader(stream, WARM_UP * BATCH)
                rates["loader"].append(time_loader(stream, chosen.samples))
                stream.close()
            decode, resize, load = (statistics.median(values[1:]) for values in rates.values())
            processes = f"{workers} processes" if workers else "1 process"
            print(
                f"{processes:12} bare PyAV {decode:7.1f} samples/s, with resizing {resize:7.1f}; loader {load:7.1f}: "
                f"{load / decode:.2f} x, {load / resize:.2f} x",
                flush=True,
            )
            if pool:
                pool.terminate()


if __name__ == "__main__":
    main()
