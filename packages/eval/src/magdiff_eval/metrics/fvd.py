"""The Fréchet Video Distance: what I3D is shown of videos under each public protocol.

FVD is the Fréchet distance of I3D's 400 logits over two sets of videos (Unterthiner et al. 2018). Public ones differ in
how frames are resized, in ddof, and in the root of the covariances' product, which here is `frechet`'s whatever they
take: where theirs are sound they differ by rounding alone. Scores compare only under one protocol, with the same number
of videos, frames and frame rate: the protocol's `asdict` belongs into every result.

I3D needs nine frames, and the common protocol is 16: how videos of eight frames (the paper's) were scored is not known,
so nothing is done to them unless `clip_mode` says what, and it then goes for both sets, with the protocol.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from magdiff_eval.models.i3d import MIN_FRAMES, SIZE_PX

ClipMode = Literal["exact", "windows", "repeat", "resample"]
Resize = Literal["tf1", "bilinear", "crop"]


@dataclass(frozen=True, kw_only=True)
class FvdProtocol:
    """How videos become I3D's input, and features a distance; `dataclasses.replace` makes another of one of these.

    Raises:
        ValueError: fewer frames than I3D takes, a stride that leaves frames out, or an unknown mode.
    """

    name: str
    """What tables and stamps call it."""
    resize: Resize
    """To 224 x 224. tf1: bilinear as TensorFlow 1 has it, output pixel i from i * scale, aspect not kept; bilinear:
    with half-pixel centres, aspect not kept; crop: the short side to 224, antialiased, then the middle."""
    ddof: int
    """Covariances divide by N - ddof."""
    published_root: Literal["svd", "sqrtm", "singular values"]
    """How the protocol's source takes the root of the covariances' product; kept for the record."""
    num_frames: int = 16
    """Frames that I3D is shown at once."""
    clip_mode: ClipMode = "exact"
    """What is done to videos of another length. exact: they are refused; windows: longer ones give several clips;
    repeat: shorter ones start again until they are long enough; resample: each frame is the nearest in time."""
    window_stride: int = 8
    """Frames from one window's start to the next; the last ends with the video."""

    def __post_init__(self) -> None:
        if self.num_frames < MIN_FRAMES:
            raise ValueError(f"num_frames is {self.num_frames}: I3D takes {MIN_FRAMES} or more, 16 is common")
        if not 1 <= self.window_stride <= self.num_frames:
            raise ValueError(f"window_stride is {self.window_stride}: need 1 to {self.num_frames}, to see every frame")
        if self.clip_mode not in _CLIPPERS:
            raise ValueError(f"clip_mode is {self.clip_mode!r}: give one of {', '.join(_CLIPPERS)}")
        if self.resize not in _RESIZERS:
            raise ValueError(f"resize is {self.resize!r}: give one of {', '.join(_RESIZERS)}")


def clip_indices(num_frames: int, protocol: FvdProtocol) -> NDArray[np.int64]:
    """Return which frames of a video make its clips, [clips, protocol.num_frames].

    Raises:
        ValueError: the protocol's `clip_mode` does not take a video of `num_frames`; the message says which do.
    """
    return _CLIPPERS[protocol.clip_mode](num_frames, protocol)


@torch.no_grad()
def prepare_clips(videos: NDArray[np.uint8], protocol: FvdProtocol, device: torch.device | str = "cpu") -> Tensor:
    """Return I3D's input, float32 [B * clips, 3, T, 224, 224] in [-1, 1], of RGB videos uint8 [B, F, H, W, 3].

    A video's clips follow each other; only `windows` makes more than one. Frames are resized as floats, and not rounded
    afterwards. Takes 9.6 MB a clip of 16 frames, and as much again for the frames as they were.

    Args:
        videos: of one length and size, at the frame rate that is to be compared.
        protocol: one of `PROTOCOLS`, or made of one; use the same for both sets.
        device: where the resizing is done, and the result is.

    Raises:
        ValueError: another shape or type, or a length that the protocol does not take.
    """
    if videos.dtype != np.uint8 or videos.ndim != 5 or videos.shape[4] != 3:
        raise ValueError(f"got {videos.dtype} {videos.shape}: need RGB videos, uint8 [B, F, H, W, 3]")
    indices = clip_indices(videos.shape[1], protocol)
    used, places = np.unique(indices, return_inverse=True)
    frames = torch.from_numpy(videos[:, used]).to(device).permute(0, 1, 4, 2, 3)
    pixels = _RESIZERS[protocol.resize](frames.flatten(0, 1).float()).clamp(0, 255) / 127.5 - 1
    order = torch.from_numpy(places.reshape(indices.shape)).to(device)
    clips = pixels.unflatten(0, frames.shape[:2])[:, order]  # [B, clips, T, 3, 224, 224]
    return clips.flatten(0, 1).transpose(1, 2).contiguous()


def _exact(num_frames: int, protocol: FvdProtocol) -> NDArray[np.int64]:
    wanted = protocol.num_frames
    if num_frames != wanted:
        others = "repeat or resample" if num_frames < wanted else "windows or resample"
        raise ValueError(
            f"a video has {num_frames} frames and protocol {protocol.name} shows {wanted}: "
            f"give videos of {wanted}, or ask for clip_mode {others}, for both sets; such scores compare only "
            "with others made the same way"
        )
    return np.arange(wanted)[None]


def _windows(num_frames: int, protocol: FvdProtocol) -> NDArray[np.int64]:
    wanted = protocol.num_frames
    if num_frames < wanted:
        raise ValueError(f"a video has {num_frames} frames, fewer than a window's {wanted}: ask for repeat or resample")
    last = num_frames - wanted
    starts = np.array(sorted({*range(0, last, protocol.window_stride), last}))
    return starts[:, None] + np.arange(wanted)


def _repeat(num_frames: int, protocol: FvdProtocol) -> NDArray[np.int64]:
    wanted = protocol.num_frames
    if not 0 < num_frames <= wanted:
        raise ValueError(f"a video has {num_frames} frames, repeat takes 1 to {wanted}: ask for windows or resample")
    return np.arange(wanted)[None] % num_frames


def _resample(num_frames: int, protocol: FvdProtocol) -> NDArray[np.int64]:
    if num_frames < 1:
        raise ValueError("a video has no frames: leave it out")
    middles = np.arange(protocol.num_frames) * 2 + 1
    return (middles * num_frames // (2 * protocol.num_frames))[None]


def _tf1(frames: Tensor) -> Tensor:
    """Resize by a matrix for each axis: output pixel i is read at i * (input size / 224), the last ones at the edge."""
    rows, columns = (_tf1_weights(size).to(frames.device) for size in frames.shape[2:])
    return rows @ frames @ columns.T


def _tf1_weights(size: int) -> Tensor:
    places = torch.arange(SIZE_PX, dtype=torch.float64) * size / SIZE_PX
    low = places.floor().long()
    high = (low + 1).clamp(max=size - 1)
    share = places - low
    weights = torch.zeros(SIZE_PX, size, dtype=torch.float64)
    outputs = torch.arange(SIZE_PX)
    weights[outputs, low] += 1 - share
    weights[outputs, high] += share
    return weights.float()


def _bilinear(frames: Tensor) -> Tensor:
    return functional.interpolate(frames, (SIZE_PX, SIZE_PX), mode="bilinear", align_corners=False)


def _crop(frames: Tensor) -> Tensor:
    height, width = frames.shape[2:]
    scale = SIZE_PX / min(height, width)  # as VideoGPT has it, down to how floats round
    size = (SIZE_PX, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), SIZE_PX)
    resized = functional.interpolate(frames, size, mode="bilinear", align_corners=False, antialias=True)
    top, left = ((side - SIZE_PX) // 2 for side in size)
    return resized[:, :, top : top + SIZE_PX, left : left + SIZE_PX]


_CLIPPERS: dict[str, Callable[[int, FvdProtocol], NDArray[np.int64]]] = {
    "exact": _exact,
    "windows": _windows,
    "repeat": _repeat,
    "resample": _resample,
}
_RESIZERS: dict[str, Callable[[Tensor], Tensor]] = {"tf1": _tf1, "bilinear": _bilinear, "crop": _crop}

TF = FvdProtocol(name="tf", resize="tf1", ddof=1, published_root="svd")
"""google-research/frechet_video_distance: tf.image.resize_bilinear of TensorFlow 1, covariances as tensorflow_gan's."""
STYLEGANV = FvdProtocol(name="styleganv", resize="bilinear", ddof=0, published_root="sqrtm")
"""stylegan-v's fvd2048_16f. Its resize is inside i3d_torchscript.pt, whose code could not be read: it is taken to be
torch's bilinear interpolation. Raw moments, which drift with a large mean, are not followed."""
MAGDIFF = FvdProtocol(name="magdiff", resize="crop", ddof=1, published_root="singular values")
"""Ours, since the paper names no protocol: aspect kept, as VideoGPT has it, and antialiased, so that a wide source is
not squeezed, nor a large one aliased, before I3D sees it; the rest as the original."""
PROTOCOLS = {protocol.name: protocol for protocol in (TF, STYLEGANV, MAGDIFF)}
