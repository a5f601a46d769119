"""I3D, C3D and toyworld's network as extractors. The networks come loaded, with what is known of their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from magdiff_curation.clips.masks import Frames
from magdiff_eval.metrics.fvd import TF, ClipMode, FvdProtocol, clip_indices, prepare_clips
from magdiff_eval.models import c3d, toyworld

Device = torch.device | str
Weights = Mapping[str, Any]
"""What is known of a network's weights, their SHA-256 among it."""


@dataclass(frozen=True, kw_only=True)
class ClipExtractor:
    """A network that sees clips of one length."""

    name: str
    stamp: Mapping[str, Any]
    batch_size: int
    """Clips at once."""
    clip_frames: int
    """Frames of a clip, T."""
    indices: Callable[[int], NDArray[np.int64]]
    """Number of frames of a video -> the frames of its clips [clips, T]; ValueError for one that it does not take."""
    inputs: Callable[[NDArray[np.uint8]], Tensor]
    """Clips uint8 [clips, T, H, W, 3] -> what the network takes."""
    network: Callable[[Tensor], Tensor]
    """What the network takes [B, ...], where it is -> features [B, d]."""
    device: Device
    """Where the network is."""

    def frames_needed(self, num_frames: int) -> NDArray[np.int64]:
        return self.indices(num_frames).ravel()

    def prepare(self, frames: Frames) -> Tensor:
        return self.inputs(frames.reshape(-1, self.clip_frames, *frames.shape[1:]))

    def extract(self, batch: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # else float32 would be TF32 on newer GPUs
            return self.network(batch.to(self.device))


def first_frames(extractor: ClipExtractor, num_frames: int, stride: int) -> ClipExtractor:
    """Return an extractor that sees videos as if they had only their frames 0, stride, …, `num_frames` of them.

    For real videos beside made ones, which have so many frames at their own rate.
    """
    taken = np.arange(num_frames) * stride

    def indices(given: int) -> NDArray[np.int64]:
        if given <= taken[-1]:
            raise ValueError(
                f"a video has {given} frames, and {num_frames} are taken, every {stride}th: it needs {taken[-1] + 1}, "
                "or a smaller stride"
            )
        return taken[extractor.indices(num_frames)]

    sampled = {"num_frames": num_frames, "stride": stride}
    return replace(extractor, indices=indices, stamp=dict(extractor.stamp) | {"first_frames": sampled})


def fvd_extractor(
    network: nn.Module, weights: Weights, protocol: FvdProtocol, *, batch_size: int = 8, device: Device = "cpu"
) -> ClipExtractor:
    """Return `fvd`: I3D's logits [clips, 400], of the clips that a protocol of FVD shows it.

    Args:
        network: an `InceptionI3d` on `device`, in float32.
        weights: they are part of the stamp.
        protocol: how videos become clips; `ddof` and the root, which features do not depend on, are not stamped.
        batch_size: clips at once.
        device: where it runs.
    """
    shown = {name: value for name, value in asdict(protocol).items() if name not in ("ddof", "published_root")}
    exact = replace(protocol, clip_mode="exact")
    return ClipExtractor(
        name="fvd",
        stamp={"network": "i3d", "weights": dict(weights), "protocol": shown, "precision": "float32"},
        batch_size=batch_size,
        clip_frames=protocol.num_frames,
        indices=lambda num_frames: clip_indices(num_frames, protocol),
        inputs=lambda clips: prepare_clips(clips, exact, device),
        network=network,
        device=device,
    )


def is_extractor(
    network: nn.Module,
    weights: Weights,
    mean: NDArray[np.floating],
    *,
    clip_mode: ClipMode = "exact",
    batch_size: int = 8,
    device: Device = "cpu",
) -> ClipExtractor:
    """Return `video-is`: C3D's logits [clips, 101], of clips of 16 frames as TGAN2 shows them.

    Args:
        network: a `C3D` on `device`, in float32.
        weights: they are part of the stamp; the mean's are to be among them.
        mean: [3, 16, 128, 171], TGAN2's.
        clip_mode: what is done to videos of another length.
        batch_size: videos at once.
        device: where it runs.
    """
    protocol = replace(TF, name="tgan2", num_frames=c3d.NUM_FRAMES, clip_mode=clip_mode)  # of which clips alone count
    return ClipExtractor(
        name="video-is",
        stamp={
            "network": "c3d",
            "weights": dict(weights),
            "protocol": "tgan2",
            "clip_mode": clip_mode,
            "precision": "float32",
        },
        batch_size=batch_size,
        clip_frames=c3d.NUM_FRAMES,
        indices=lambda num_frames: clip_indices(num_frames, protocol),
        inputs=lambda clips: c3d.tgan2_inputs(clips, mean, device),
        network=network,
        device=device,
    )


def toyworld_extractor(
    network: toyworld.ToyworldExtractor,
    weights: Weights,
    *,
    num_frames: int = 16,
    logits: bool = False,
    batch_size: int = 32,
    device: Device = "cpu",
) -> ClipExtractor:
    """Return toyworld's `fvd`, 64 features a video, or its `video-is`, 100 logits: figures for toyworld alone.

    Args:
        network: on `device`, in float32.
        weights: they are part of the stamp.
        num_frames: of every video, 8 or 16.
        logits: whether it is the logits.
        batch_size: videos at once.
        device: where it runs.
    """
    return ClipExtractor(
        name="video-is" if logits else "fvd",
        stamp={"network": "toyworld", "weights": dict(weights), "num_frames": num_frames, "precision": "float32"},
        batch_size=batch_size,
        clip_frames=num_frames,
        indices=lambda given: _whole(given, num_frames, "toyworld's extractor"),
        inputs=lambda clips: toyworld.extractor_inputs(clips, device),
        network=network.forward if logits else network.features,
        device=device,
    )


def _whole(num_frames: int, taken: int, name: str) -> NDArray[np.int64]:
    if num_frames != taken:
        raise ValueError(f"a video has {num_frames} frames and {name} takes {taken}: generate videos of {taken}")
    return np.arange(num_frames)[None]
