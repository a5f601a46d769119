"""One framing for everything: short side to the model's size, the middle cut out.

Frames, masks and every size at which HFA and CLIP see the subject are cut from the same square of the source, each
resized once from the source's own pixels, so that nothing shifts between them and no size is enlarged from another.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_curation.clips.windows import middle_square


def framed_frames(frames: Frames, size_px: int) -> Tensor:
    """Return frames uint8 [F, H, W, 3] as the model takes them, float32 [F, 3, S, S] in [-1, 1]."""
    framed = torch.empty(len(frames), 3, size_px, size_px)
    for place, frame in zip(framed, frames, strict=True):
        # One at a time: what all need at once may come fresh from the system every time, and take twice as long.
        place.copy_(resized(middle_pixels(frame[None]), size_px)[0])
    return framed


def framed_masks(masks: Masks, size_px: int) -> Tensor:
    """Return masks bool [F, H, W] in the same framing, float32 [F, 1, S, S], 0 or 1."""
    framed = torch.empty(len(masks), 1, size_px, size_px)
    for place, mask in zip(framed, middle_square(masks), strict=True):
        cover = torch.from_numpy(np.ascontiguousarray(mask))[None, None].float()
        torch.gt(resized(cover, size_px)[0], 0.5, out=place)
    return framed


def middle_pixels(frames: Frames) -> Tensor:
    """Return the middle square of frames uint8 [F, H, W, 3] in its own size, float32 [F, 3, T, T] in [-1, 1]."""
    planes = np.ascontiguousarray(middle_square(frames).transpose(0, 3, 1, 2))  # resizes twice as fast as interleaved
    return torch.from_numpy(planes).float().div_(127.5).sub_(1)


def resized(pictures: Tensor, size_px: int) -> Tensor:
    """Return square pictures [F, C, T, T] at another size, float32 [F, C, S, S]."""
    if pictures.shape[-1] == size_px:
        return pictures
    return functional.interpolate(pictures, (size_px, size_px), mode="bilinear", antialias=True)
