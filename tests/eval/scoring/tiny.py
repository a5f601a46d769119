"""Small networks with fixed random weights, and small videos of every kind, for the tests of scoring."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor, nn

from magdiff_curation.clips.masks import Frames
from magdiff_curation.clips.video import CodecSettings, encode
from magdiff_eval.scoring.extractors import extractor_key
from magdiff_eval.scoring.videos import reader_stamp

FAST = CodecSettings(preset="ultrafast", constant_rate_factor=23)


class TinyClips:
    """A video's first eight frames, resized, through a 3D convolution: one item, 24 features."""

    name = "tiny"
    batch_size = 4

    def __init__(self, seed: int = 0, log: Path | None = None) -> None:
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Conv3d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool3d(2), nn.Flatten())
        self.head, self.log = nn.Linear(64, 24), log
        self.stamp = {"weights_sha256": f"random {seed}", "frames": "first 8", "resize": "bilinear 32"}

    @property
    def key(self) -> str:
        return extractor_key(self, reader_stamp())

    def frames_needed(self, num_frames: int) -> np.ndarray:
        if num_frames < 8:
            raise ValueError(f"a video has {num_frames} frames, tiny takes 8 or more: generate longer videos")
        return np.arange(8)

    def prepare(self, frames: Frames) -> Tensor:
        if self.log is not None:  # which videos were shown, by their first pixels
            with self.log.open("a") as file:
                file.write(f"{frames[:, ::7, ::7].astype(int).sum()} {frames[0, 0, 0].tolist()}\n")
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        return nn.functional.interpolate(pixels, (32, 32), mode="bilinear").transpose(0, 1)[None]

    def extract(self, batch: Tensor) -> Tensor:
        return self.head(self.net(batch))


class TinyFrames:
    """Every second frame by itself: as many items as there are, 6 features each, in float64."""

    name = "tiny-frames"
    batch_size = 16

    def __init__(self) -> None:
        self.stamp = {"weights_sha256": "none", "features": "mean and deviation of each channel"}

    def frames_needed(self, num_frames: int) -> np.ndarray:
        return np.arange(0, num_frames, 2)

    def prepare(self, frames: Frames) -> Tensor:
        pixels = torch.from_numpy(frames).double().flatten(1, 2)
        return torch.cat([pixels.mean(dim=1), pixels.std(dim=1)], dim=1)

    def extract(self, batch: Tensor) -> Tensor:
        return batch


def moving(seed: int, num_frames: int = 16, height: int = 48, width: int = 64) -> Frames:
    """Frames uint8 [F, H, W, 3] of a coloured square that moves before a slope of another colour."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (2, 3))
    slope = np.linspace(0.3, 1, width)[None, :, None] * np.ones((height, 1, 1))
    frames = np.repeat((slope * colours[0])[None], num_frames, axis=0).astype(np.uint8)
    top, left = rng.integers(0, (height - 16, width - 16))
    for number, frame in enumerate(frames):
        at = (left + 2 * number) % (width - 16)
        frame[top : top + 16, at : at + 16] = colours[1]
    return frames


def write_mp4(path: Path, frames: Frames, frame_rate: float = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(frames, frame_rate, FAST))


def write_pictures(folder: Path, frames: Frames, suffix: str = "png", first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, first):
        PillowImage.fromarray(frame).save(folder / f"{number:05d}.{suffix}")


def write_gif(path: Path, frames: Frames, milliseconds: int = 120) -> None:
    pictures = [PillowImage.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)


def load_tiny(settings: object) -> list[TinyClips | TinyFrames]:
    return [TinyClips(), TinyFrames()]
