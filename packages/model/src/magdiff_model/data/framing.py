"""One framing for everything: short side to the model's size, the middle cut out.

Frames, masks and every size at which HFA and CLIP see the subject are cut from the same square of the source, each
resized once from the source's own pixels, so that nothing shifts between them and no size is enlarged from another.
Pictures stay bytes until they are where the model is: resizing bytes takes a tenth of the time that floats take.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_curation.clips.windows import middle_square


def framed_frames(frames: Frames, size_px: int) -> Tensor:
    """Return frames uint8 [F, H, W, 3] in the model's framing, uint8 [F, S, S, 3]."""
    return resized(middle_pixels(frames), size_px)


def framed_masks(masks: Masks, size_px: int) -> Tensor:
    """Return masks bool [F, H, W] in the same framing, bool [F, S, S]."""
    return is_inside(resized(torch.from_numpy(_cover(masks)), size_px))[..., 0]


def middle_pixels(frames: Frames, masks: Masks | None = None) -> Tensor:
    """Return the middle square of frames uint8 [F, H, W, 3] in its own size, uint8 [F, T, T, 3 or 4].

    Masks [F, H, W] become a fourth channel, 0 or 255: what is resized together stays together, and costs nothing.
    """
    pixels = middle_square(frames)
    pixels = np.ascontiguousarray(pixels) if masks is None else np.concatenate([pixels, _cover(masks)], axis=-1)
    return torch.from_numpy(pixels)


def resized(pictures: Tensor, size_px: int) -> Tensor:
    """Return square pictures uint8 [F, T, T, C] at another size, uint8 [F, S, S, C]."""
    if pictures.shape[1] == size_px:
        return pictures
    planes = pictures.movedim(-1, 1)
    return functional.interpolate(planes, (size_px, size_px), mode="bilinear", antialias=True).movedim(1, -1)


def is_inside(cover: Tensor) -> Tensor:
    """Return where a resized mask, 0 to 255, covers more than half of a pixel."""
    return cover > 127


def unit(pictures: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return pictures uint8 [..., S, S, 3 or 4] as networks take them, [..., 3, S, S] in [-1, 1].

    Where there is a fourth channel, what is outside of that mask is 0.
    """
    planes = pictures.movedim(-1, -3)
    pixels = planes[..., :3, :, :].to(dtype, memory_format=torch.contiguous_format).div_(127.5).sub_(1)
    return pixels if planes.shape[-3] == 3 else pixels.mul_(is_inside(planes[..., 3:, :, :]))


def _cover(masks: Masks) -> NDArray[np.uint8]:
    return middle_square(masks).astype(np.uint8)[..., None] * np.uint8(255)
