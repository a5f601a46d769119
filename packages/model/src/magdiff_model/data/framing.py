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
    pixels = torch.from_numpy(np.ascontiguousarray(middle_square(frames))).permute(0, 3, 1, 2).float() / 127.5 - 1
    return _resize(pixels, size_px)


def framed_masks(masks: Masks, size_px: int) -> Tensor:
    """Return masks bool [F, H, W] in the same framing, float32 [F, 1, S, S], 0 or 1."""
    cover = torch.from_numpy(np.ascontiguousarray(middle_square(masks)))[:, None].float()
    return (_resize(cover, size_px) > 0.5).float()


def _resize(pictures: Tensor, size_px: int) -> Tensor:
    if pictures.shape[-1] == size_px:
        return pictures
    return functional.interpolate(pictures, (size_px, size_px), mode="bilinear", antialias=True)
