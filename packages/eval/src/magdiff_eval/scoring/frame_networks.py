"""What sees a video frame by frame, or pair by pair, as extractors: CLIP, DINO, motion, and errors against a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from torch import Tensor

from magdiff_curation.clips.masks import Frames
from magdiff_eval.metrics.clip import ClipProtocol
from magdiff_eval.metrics.motion import motion_between
from magdiff_eval.metrics.regions import squared_errors
from magdiff_eval.models.clip import Clip
from magdiff_eval.models.dino import Dino, SubjectCrop, cropped
from magdiff_eval.scoring.networks import ClipExtractor, Device, Weights


def clip_extractor(
    name: str, clip: Clip, weights: Weights, protocol: ClipProtocol, *, batch_size: int = 16, device: Device = "cpu"
) -> ClipExtractor:
    """Return CLIP's image embedding of every frame, [F, D].

    Args:
        name: `clip` or `pickscore`.
        clip: on `device`, in float32.
        weights: they are part of the stamp.
        protocol: what is done to frames before CLIP's own preparation; which pairs are compared is not stamped.
        batch_size: frames at once.
        device: where it runs.
    """
    shown = {"resize_px": protocol.resize_px, "cut_tall_frames": protocol.cut_tall_frames}
    return _each_frame(
        name,
        {"network": "clip image", "weights": dict(weights), "frames": shown},
        lambda frames: clip.pixels(_as_published(frames, protocol)),
        clip.embed_pixels,
        batch_size,
        device,
    )


def dino_extractor(
    dino: Dino | Clip, weights: Weights, crop: SubjectCrop, *, batch_size: int = 16, device: Device = "cpu"
) -> ClipExtractor:
    """Return `dino`: the class token of every frame, [F, D]; cut to the subject the frames have its mask beside them.

    Args:
        dino: on `device`, in float32.
        weights: they are part of the stamp.
        crop: what of a frame is looked at; with bbox and mask frames are uint8 [F, H, W, 6], the mask last.
        batch_size: frames at once.
        device: where it runs.
    """
    network = "dino" if isinstance(dino, Dino) else "clip image"

    def inputs(frames: Frames) -> Tensor:
        masks = frames[..., 3:].max(axis=3) > 0 if crop != "none" else np.ones(frames.shape[:3], bool)
        return torch.cat([dino.pixels(picture[None]) for picture in cropped(frames[..., :3], masks, crop)])

    stamp = {"network": network, "weights": dict(weights), "subject_crop": crop}
    return _each_frame("dino", stamp, inputs, dino.embed_pixels, batch_size, device)


def motion_extractor() -> ClipExtractor:
    """Return `motion`: the mean flow from each frame to the next, [F - 1, 1], as a share of the short side."""
    import cv2

    return ClipExtractor(
        name="motion",
        stamp={"flow": "DIS, medium", "opencv": cv2.__version__},
        batch_size=64,
        clip_frames=2,
        indices=_neighbours,
        inputs=lambda pairs: torch.tensor([[motion_between(*pair)] for pair in pairs], dtype=torch.float64),
        network=lambda lengths: lengths,
        device="cpu",
    )


def regions_extractor() -> ClipExtractor:
    """Return `regions`: `squared_errors` of every frame, [F, 5], against the source that stands beside it.

    Frames are uint8 [F, H, W, 9]: the video, its source, and the mask of what was to be kept.
    """

    def inputs(frames: Frames) -> Tensor:
        masks = frames[..., 6:].max(axis=3) > 0
        rows = [
            squared_errors(frame[..., :3], frame[..., 3:6], mask) for frame, mask in zip(frames, masks, strict=True)
        ]
        return torch.tensor(rows, dtype=torch.float64)

    return _each_frame("regions", {"errors": "squared, in [-1, 1]"}, inputs, lambda rows: rows, 64, "cpu")


def _each_frame(
    name: str,
    stamp: Mapping[str, Any],
    inputs: Callable[[Frames], Tensor],
    network: Callable[[Tensor], Tensor],
    batch_size: int,
    device: Device,
) -> ClipExtractor:
    return ClipExtractor(
        name=name,
        stamp=dict(stamp) | {"precision": "float32"},
        batch_size=batch_size,
        clip_frames=1,
        indices=lambda num_frames: np.arange(num_frames)[:, None],
        inputs=lambda clips: inputs(clips[:, 0]),
        network=network,
        device=device,
    )


def _neighbours(num_frames: int) -> NDArray[np.int64]:
    if num_frames < 2:
        raise ValueError("a video has one frame and motion is between two: generate longer videos")
    return np.arange(num_frames - 1)[:, None] + np.arange(2)


def _as_published(frames: Frames, protocol: ClipProtocol) -> Frames:
    height, width = frames.shape[1:3]
    if protocol.cut_tall_frames and height > width:
        frames = frames[:, height - width :]
    if protocol.resize_px is None:
        return frames
    size = (protocol.resize_px, protocol.resize_px)
    resized = [np.asarray(PillowImage.fromarray(frame).resize(size)) for frame in frames]  # bicubic, Pillow's default
    return np.stack(resized)
